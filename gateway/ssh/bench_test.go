package ssh_test

import (
	"bufio"
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/test/gatewaytest"
)

// ways are how a stock client may reach the same sshd.
var ways = []string{"gateway", "direct", "jump"}

// benchWorld has all the ways: hosts are named after them. The product sets the collector like this.
func benchWorld(b *testing.B) *gatewaytest.World {
	b.Helper()
	defer b.ResetTimer()
	old := debug.SetGCPercent(800)
	b.Cleanup(func() { debug.SetGCPercent(old) })
	w := gatewaytest.Start(b, gatewaytest.Options{Direct: true, Role: func(r *brevet.Role) { r.Limits.Idle = 0 }})
	w.Plane.Grant("bob", "web-root", time.Hour)
	direct := []string{"HostName 127.0.0.1", "Port " + w.SSHD.Port(), "User " + w.SSHD.Login}
	lines := slices.Concat(
		[]string{"Host gateway", "HostName 127.0.0.1", "Port " + w.Port, "HostKeyAlias gw", "User " + w.Login + "%web1"},
		[]string{"Host direct first"}, direct, []string{"Host jump", "ProxyJump first"}, direct, []string{"Host *", "LogLevel ERROR"},
	)
	if err := w.Client.Configure(lines...); err != nil {
		b.Fatal(err)
	}
	if err := w.Client.Trust(w.SSHD.KnownHost()); err != nil {
		b.Fatal(err)
	}
	return w
}

func stock(b *testing.B, w *gatewaytest.World, stdin io.Reader, args ...string) {
	b.Helper()
	cmd := w.Client.Command(b.Context(), args...)
	var errs bytes.Buffer
	cmd.Stdin, cmd.Stderr = stdin, &errs
	if err := cmd.Run(); err != nil {
		b.Fatalf("%v: %s", err, errs.String())
	}
}

// BenchmarkBulk is one session that moves much, every byte recorded by the gateway. Run it with
// -benchtime 3x and compare the ways within one run.
func BenchmarkBulk(b *testing.B) {
	const size = 256 << 20
	w := benchWorld(b)
	random := filepath.Join(w.Client.Dir, "random")
	if err := exec.Command("sh", "-c", fmt.Sprintf("head -c %d /dev/urandom > %s", size, random)).Run(); err != nil {
		b.Fatal(err)
	}
	for _, kind := range []string{"down zeros", "down random", "up random"} {
		for _, way := range ways {
			b.Run(strings.ReplaceAll(kind, " ", "_")+"/"+way, func(b *testing.B) {
				b.SetBytes(size)
				for range b.N {
					switch kind {
					case "down zeros":
						stock(b, w, nil, way, fmt.Sprintf("head -c %d /dev/zero", size))
					case "down random":
						stock(b, w, nil, way, "cat "+random)
					case "up random":
						f, err := os.Open(random)
						if err != nil {
							b.Fatal(err)
						}
						stock(b, w, f, way, "cat > /dev/null")
						f.Close()
					}
				}
			})
		}
	}
}

// BenchmarkLogin is a stock client that connects, runs true, and leaves.
func BenchmarkLogin(b *testing.B) {
	w := benchWorld(b)
	for _, way := range ways {
		b.Run(way, func(b *testing.B) {
			for range b.N {
				stock(b, w, nil, way, "true")
			}
		})
	}
}

// BenchmarkKeystroke is one byte to a cat on the target and back.
func BenchmarkKeystroke(b *testing.B) {
	w := benchWorld(b)
	for _, way := range ways[:2] {
		b.Run(way, func(b *testing.B) {
			addr, user, key := w.Addr, w.Login+"%web1", w.Server.HostKey.PublicKey()
			if way == "direct" {
				addr, user, key = w.SSHD.Addr, w.SSHD.Login, w.SSHD.HostKey
			}
			c, err := gossh.Dial("tcp", addr, &gossh.ClientConfig{
				Config: gossh.Config{Ciphers: []string{gossh.CipherAES128GCM}},
				User:   user, Auth: []gossh.AuthMethod{gossh.PublicKeys(w.Bob)}, HostKeyCallback: gossh.FixedHostKey(key), HostKeyAlgorithms: []string{gossh.KeyAlgoED25519},
			})
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			s, err := c.NewSession()
			if err != nil {
				b.Fatal(err)
			}
			in, _ := s.StdinPipe()
			out, _ := s.StdoutPipe()
			if err := s.Start("cat"); err != nil {
				b.Fatal(err)
			}
			took := make([]time.Duration, 0, b.N)
			var key1 [1]byte
			for b.Loop() {
				start := time.Now()
				if _, err := in.Write([]byte{'x'}); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(out, key1[:]); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
		})
	}
}

// BenchmarkIdleSessions is what a session costs that nobody uses, on a connection of its own, of which
// 500 are open. The clients are in a process of their own.
func BenchmarkIdleSessions(b *testing.B) {
	const sessions = 500
	w := benchWorld(b)
	block, err := gossh.MarshalPrivateKey(w.BobKey, "")
	if err != nil {
		b.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		before := held()
		cmd := exec.CommandContext(b.Context(), program, "idle", w.Addr, w.Login+"%web1", strconv.Itoa(sessions))
		cmd.Env = append(os.Environ(), "IDLE_KEY="+string(pem.EncodeToMemory(block)))
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			b.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			b.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
			b.Fatalf("%q, %v", line, err)
		}
		if n := len(w.Gateway.Sessions()); n != sessions {
			b.Fatalf("%d sessions are live", n)
		}
		b.ReportMetric(float64(held()-before)/sessions/1024, "KiB/session")
		b.ReportMetric(float64(runtime.NumGoroutine())/sessions, "goroutines/session")
		in.Close()
		cmd.Wait()
	}
}

// held is the memory in use, after a collection.
func held() uint64 {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// idle opens sessions that do nothing until standard input ends.
func idle(addr, user string, sessions int) error {
	key, err := gossh.ParsePrivateKey([]byte(os.Getenv("IDLE_KEY")))
	if err != nil {
		return err
	}
	for range sessions {
		c, err := gossh.Dial("tcp", addr, &gossh.ClientConfig{
			User: user, Auth: []gossh.AuthMethod{gossh.PublicKeys(key)}, HostKeyCallback: gossh.InsecureIgnoreHostKey(),
		})
		if err != nil {
			return err
		}
		defer c.Close()
		s, err := c.NewSession()
		if err != nil {
			return err
		}
		if _, err := s.StdinPipe(); err != nil {
			return err
		}
		out, err := s.StdoutPipe()
		if err != nil {
			return err
		}
		if err := s.Start("echo up; cat"); err != nil {
			return err
		}
		if _, err := io.ReadFull(out, make([]byte, 3)); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
