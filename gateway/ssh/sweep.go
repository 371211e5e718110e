package ssh

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"time"

	gossh "golang.org/x/crypto/ssh"
)

// sshd hangs up a terminal when its channel closes, which a command may be deaf to, and leaves one that has
// none running. It can be asked to send that a signal, and does not for root (session_signal_req in OpenSSH's session.c: it
// "requires privilege separation"). So after the end of a grant, what does not go by itself is ended by
// a command of Brevet's own, on the same connection, as the same account.

// sweepCommand ends the other commands that sshd runs for this connection. Each leads a process group,
// and is a child of the process of sshd's that also runs this one. Login shells of every kind can exec.
//
// When the connection is lost just before it runs, its parent is no longer that process but whoever adopts
// orphans: process 1 as a rule, whose other children are all that the host does (and which is itself an
// sshd, in containers). So it does nothing, with status 1, unless its parent is an sshd and not process 1,
// and looks anew each time whether it still is its parent. Names of processes are chosen by whoever runs
// them and may hold line breaks, so none stands in the list of children.
const sweepCommand = `exec /bin/sh -c '` +
	`ours() { if [ -r "/proc/$PPID/comm" ]; then read -r name <"/proc/$PPID/comm"; else name=$(ps -o comm= -p "$PPID"); fi; ` +
	`case $PPID:$name in 1:*) return 1;; *:sshd*|*/sshd*) return 0;; esac; return 1; }; ` +
	`others() { ours && ps -A -o pid= -o ppid= | { still=; found=; ` +
	`while read -r p parent; do [ "$parent" = "$PPID" ] || continue; ` +
	`if [ "$p" = $$ ]; then still=yes; elif [ "$p" -gt 1 ]; then found="$found $p"; fi; done; ` +
	`[ "$still" ] && echo "$found"; }; }; ` +
	`for signal in TERM KILL; do left=$(others) || exit 1; [ "$left" ] || exit 0; ` +
	`for p in $left; do kill -s $signal -- "-$p"; done; sleep 1; done'`

const (
	sweepAfter  = time.Second     // for a command to end by itself
	sweepWithin = 5 * time.Second // for the target to do it
)

// sweep ends what the session has left running on its target, if that outlives its channel and the
// grant is over. Sessions that share the connection are over as well then, and one sweep is for all.
func (s *session) sweep() {
	if within(s.left, sweepAfter) {
		return
	}
	s.person.swept.Do(func() {
		if err := s.person.target.sweep(); err != nil {
			s.person.server.log().WarnContext(s.person.ctx, "a command may run on at the target", "target", s.targetName(), "session", s.live.ID, "error", err)
		}
	})
}

// sweep runs sweepCommand, at an OpenSSH: others may have no process for each connection. A target that
// does not do it in time loses the connection.
func (d *dialing) sweep() error {
	if version := d.conn.ServerVersion(); !bytes.HasPrefix(version, []byte("SSH-2.0-OpenSSH_")) {
		return fmt.Errorf("%q may run the commands of several connections in one process", version)
	}
	late := time.AfterFunc(sweepWithin, func() { d.sock.Close() })
	defer late.Stop()
	channel, requests, err := d.conn.OpenChannel("session", nil)
	if err != nil {
		return err
	}
	defer channel.Close()
	if ok, err := channel.SendRequest("exec", true, gossh.Marshal(struct{ Command string }{sweepCommand})); err != nil || !ok {
		return err
	}
	if _, err := io.Copy(io.Discard, channel); err != nil {
		return err
	}
	done := struct{ Status uint32 }{failStatus} // until it says otherwise
	for r := range requests {
		if r.Type == "exit-status" {
			if err := gossh.Unmarshal(r.Payload, &done); err != nil {
				return err
			}
		}
		_ = r.Reply(false, nil)
	}
	if done.Status != 0 {
		return fmt.Errorf("the target ended the command for it with status %d", done.Status)
	}
	return nil
}

// hold keeps something open as long as somebody needs it. Its zero value is open.
type hold struct {
	mu     sync.Mutex // guards what follows
	needed int
	close  func() // once ended
}

// take reports whether it is still open, and then keeps it so until release.
func (h *hold) take() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.close != nil {
		return false
	}
	h.needed++
	return true
}

func (h *hold) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.needed--; h.needed == 0 && h.close != nil {
		h.close()
	}
}

// end has it closed as soon as nobody needs it.
func (h *hold) end(by func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.close = by
	if h.needed == 0 {
		by()
	}
}
