package ssh

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	gossh "golang.org/x/crypto/ssh"
)

// sshd hangs up a terminal when its channel closes, which a command may be deaf to, and leaves one that has
// none running. It can be asked to send that a signal, and does not for root (session_signal_req in OpenSSH's
// session.c: it "requires privilege separation"). So after the end of a grant, what does not go by itself is
// ended by a command of Brevet's own, on the same connection, as the same account.
//
// What a terminal's shell leaves in the background (nohup, disown) becomes a child of process 1 when the shell
// is hung up, and nothing tells any more whose it was but the number of its session, the shell's. So
// where there is a terminal, the command looks first, and the terminal is hung up then.

// sweepCommand ends the other commands that sshd runs for this connection and all that is in a session
// (setsid) which one of them or a descendant leads, or was seen to lead. It prints a line once it has seen what
// there is, and begins with what did not go by itself after as many seconds as is its argument. Login shells of
// every kind can exec.
//
// When the connection is lost just before it runs, its parent is no longer that process but whoever adopts
// orphans: process 1 as a rule, whose other children are all that the host does (and which is itself an
// sshd, in containers). So it does nothing, with status 1, unless its parent is an sshd and not process 1,
// and looks anew each time whether it still is its parent. Names of processes are chosen by whoever runs
// them and may hold line breaks, so none stands in the list of processes.
//
// A session's number is given to no other as long as it has a process, and a session that was seen with none is
// forgotten; the numbers of a host would have to go round between two looks, a second apart. A session whose
// leader was not seen below that sshd is none of ours (sshd's own, for one). What made a session of its own
// and was left to process 1 before the first look is a daemon, perhaps a service that somebody is to have: it stays.
const sweepCommand = `exec /bin/sh -c '` +
	`ours() { if [ -r "/proc/$PPID/comm" ]; then read -r name <"/proc/$PPID/comm"; else name=$(ps -o comm= -p "$PPID"); fi; ` +
	`case $PPID:$name in 1:*) return 1;; *:sshd*|*/sshd*) return 0;; esac; return 1; }; ` +
	// Where ps knows no sessions, groups take their place: the children of sshd lead one each.
	`list() { ps -A -o pid= -o ppid= -o pgid= -o sid= -o stat= 2>/dev/null || ps -A -o pid= -o ppid= -o pgid=; }; ` +
	// Only lines of numbers are kept, as pid:parent:group:session. What has ended, and waits for its parent to
	// see that, is in no group.
	`numbers() { while read -r p parent group sid state; do sid=${sid:-$group}; case $state in Z*) group=0;; esac; ` +
	`[ "$p" -gt 1 ] && [ "$parent" -ge 0 ] && [ "$group" -ge 0 ] && [ "$sid" -ge 0 ] && echo "$p:$parent:$group:$sid"; done 2>/dev/null; }; ` +
	`split() { p=${1%%:*}; sid=${1##*:}; group=${1#*:}; parent=${group%%:*}; group=${group#*:}; group=${group%%:*}; }; ` +
	// look sets sessions to those that are ours, and left to the process groups in them.
	`sessions=; look() { ours || return 1; all=$(list) || return 1; all=$(echo "$all" | numbers); ` +
	`tree=" $PPID "; before=; still=; until [ "$tree" = "$before" ]; do before=$tree; for one in $all; do split "$one"; ` +
	`if [ "$p" = $$ ]; then [ "$parent" = "$PPID" ] && still=yes; continue; fi; ` +
	`case $tree in *" $p "*) continue;; *" $parent "*) tree="$tree$p "; [ "$p" = "$sid" ] && sessions="$sessions $p";; esac; done; done; ` +
	`[ "$still" ] || return 1; known=" $sessions "; sessions=; left=; for one in $all; do split "$one"; ` +
	`[ "$group" -gt 1 ] || continue; ` + // kill reads the others as "all" and "mine"
	`case $known in *" $sid "*) ;; *) continue;; esac; ` +
	`case " $sessions " in *" $sid "*) ;; *) sessions="$sessions $sid";; esac; ` +
	`case " $left " in *" $group "*) ;; *) left="$left $group";; esac; done; }; ` +
	`look || exit 1; echo seen; sleep "$1"; ` +
	`for signal in TERM KILL KILL; do look || exit 1; [ "$left" ] || exit 0; ` +
	`for group in $left; do kill -s $signal -- "-$group"; done; sleep 1; done; exit 1' sweep`

const (
	lookWithin  = time.Second     // for the target to see what is there, before a terminal is hung up in any case
	sweepAfter  = time.Second     // for a command to end by itself
	sweepWithin = 7 * time.Second // for the target to do it
)

// sweep is one run of sweepCommand, for all sessions that share a connection: their grant is over as well.
type sweep struct {
	seen chan struct{} // closed when the target has seen what there is, or never will
	done chan struct{} // closed at its end
	err  error         // once done
}

// endAtTarget ends what the session runs on its target. If the grant is over, nothing of it is to stay.
func (s *session) endAtTarget(over bool) {
	var why error
	if over && s.terminal && s.person.target.isOpenSSH() {
		w := s.person.sweep(sweepAfter)
		within(w.seen, lookWithin)
		s.hangUpTarget()
		<-w.done
		if why = w.err; why == nil {
			return
		}
	} else if s.hangUpTarget(); !over {
		return
	}
	if !within(s.left, sweepAfter) { // and has a place free, if sessions held all of them
		w := s.person.sweep(0)
		<-w.done
		why = w.err
	}
	if why != nil {
		s.person.server.log().WarnContext(s.person.ctx, "a command may run on at the target", "target", s.targetName(), "session", s.live.ID, "error", cause(why))
	}
}

// hangUpTarget closes the target's end.
func (s *session) hangUpTarget() {
	_, _ = s.up.SendRequest("signal", false, gossh.Marshal(struct{ Name string }{"TERM"}))
	s.up.Close()
}

// sweep begins one that leaves the processes a while to go by themselves, unless one runs or has done its work.
func (p *person) sweep(while time.Duration) *sweep {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w := p.swept; w != nil && !w.failed() {
		return w
	}
	w := &sweep{seen: make(chan struct{}), done: make(chan struct{})}
	p.swept = w
	p.server.busy.Go(func() {
		defer close(w.done)
		seen := sync.OnceFunc(func() { close(w.seen) })
		defer seen()
		w.err = p.target.sweep(while, seen)
	})
	return w
}

func (w *sweep) failed() bool {
	select {
	case <-w.done:
		return w.err != nil
	default:
		return false
	}
}

func (d *dialing) isOpenSSH() bool {
	return bytes.HasPrefix(d.conn.ServerVersion(), []byte("SSH-2.0-OpenSSH_"))
}

// sweep runs sweepCommand, at an OpenSSH: others may have no process for each connection. A target that
// does not do it in time loses the connection.
func (d *dialing) sweep(while time.Duration, seen func()) error {
	if !d.isOpenSSH() {
		return fmt.Errorf("%q may run the commands of several connections in one process", d.conn.ServerVersion())
	}
	late := time.AfterFunc(sweepWithin, func() { d.sock.Close() })
	defer late.Stop()
	channel, requests, err := d.conn.OpenChannel("session", nil)
	if err != nil {
		return err
	}
	defer channel.Close()
	status := make(chan uint32, 1)
	go func() { status <- exitStatus(requests) }() // from now on: see early.go
	command := fmt.Sprintf("%s %d", sweepCommand, while/time.Second)
	ok, err := channel.SendRequest("exec", true, gossh.Marshal(struct{ Command string }{command}))
	if err != nil {
		return err
	}
	if !ok {
		return errors.New("the target refused the command for it")
	}
	if _, err := channel.Read(make([]byte, 1)); err == nil {
		seen()
	}
	if _, err := io.Copy(io.Discard, channel); err != nil {
		return err
	}
	if status := <-status; status != 0 {
		return fmt.Errorf("the target ended the command for it with status %d", status)
	}
	return nil
}

// exitStatus takes requests until the target closes its end, and returns the status that it said.
func exitStatus(requests <-chan *gossh.Request) uint32 {
	done := struct{ Status uint32 }{failStatus} // until it says otherwise
	for r := range requests {
		if r.Type == "exit-status" && gossh.Unmarshal(r.Payload, &done) != nil {
			done.Status = failStatus
		}
		_ = r.Reply(false, nil)
	}
	return done.Status
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
