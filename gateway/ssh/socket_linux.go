package ssh

import "syscall"

// acknowledge tells the peer of a TCP connection what has come, where there is anything to tell. The
// system goes back to delays by itself, so it is asked each time (tcp(7), TCP_QUICKACK).
func acknowledge(fd uintptr) {
	_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1)
}
