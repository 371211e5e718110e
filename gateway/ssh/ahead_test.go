package ssh

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
)

// script is a connection that gives what a client sends, and takes all answers.
type script struct {
	net.Conn
	io.Reader
}

func (s script) Read(p []byte) (int, error)  { return s.Reader.Read(p) }
func (s script) Write(p []byte) (int, error) { return len(p), nil }

// TestAhead: a client that does not wait for answers is hung up on, whatever its packets are like.
func TestAhead(t *testing.T) {
	plainly := func(kind byte, size int) string {
		p := binary.BigEndian.AppendUint32(nil, uint32(2+size))
		return string(p) + "\x04" + string([]byte{kind}) + strings.Repeat("x", size)
	}
	sealed := func(size int) string {
		return string(binary.BigEndian.AppendUint32(nil, uint32(size))) + strings.Repeat("\xff", size+gcmTagSize)
	}
	const hello = "SSH-2.0-x\r\n"
	tests := []struct {
		name     string
		sent     string
		answered int // before it is read
		in       bool
		tooMuch  bool
	}{
		{name: "a few in the clear", sent: hello + strings.Repeat(plainly(20, 100), mostAhead)},
		{name: "many in the clear", sent: hello + strings.Repeat(plainly(20, 100), mostAhead+1), tooMuch: true},
		{name: "a large one", sent: hello + plainly(20, 30_000) + plainly(msgNewKeys, 10) + sealed(200_000)},
		{name: "many small ones", sent: hello + plainly(msgNewKeys, 10) + strings.Repeat(sealed(32), mostAhead), tooMuch: true},
		{name: "lines before the version", sent: "hello\r\nhello\n" + hello + strings.Repeat(plainly(20, 10), mostAhead+1), tooMuch: true},
		{name: "packets of nothing", sent: hello + strings.Repeat("\x00\x00\x00\x00\x00\x00", mostAhead+1), tooMuch: true},
		{name: "answers to nothing give no credit", sent: hello + strings.Repeat(plainly(20, 10), mostAhead+1), answered: 5, tooMuch: true},
		{name: "somebody who is logged in", sent: hello + strings.Repeat(plainly(20, 10), 100), in: true},
	}
	for _, tt := range tests {
		for _, by := range []int{1, 7, 4096} {
			a := &ahead{Conn: script{Reader: strings.NewReader(tt.sent)}}
			a.loggedIn.Store(tt.in)
			for range tt.answered {
				_, _ = a.Write([]byte("x"))
			}
			_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{a}, make([]byte, by))
			if tooMuch := errors.Is(err, errAhead); tooMuch != tt.tooMuch {
				t.Errorf("%s, %d bytes at once: %v", tt.name, by, err)
			}
		}
	}
	a := &ahead{Conn: script{Reader: strings.NewReader(hello + strings.Repeat(plainly(20, 10), 100))}}
	for p := make([]byte, 16); ; _, _ = a.Write(p) { // as long as a packet: each is answered before the next
		if _, err := a.Read(p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("a client that waits for its answers: %v", err)
		}
	}
}
