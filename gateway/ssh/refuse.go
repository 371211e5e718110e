package ssh

import (
	"fmt"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/gateway"
)

const (
	maxRefused   = 200 // things that one connection may be refused within refusedSpan
	refusedSpan  = time.Minute
	maxDestShown = 128
)

// reasons are the sentences for what this gateway does not carry.
var reasons = map[string]string{
	"direct-tcpip":                           "port forwarding is not given",
	"direct-streamlocal@openssh.com":         "socket forwarding is not given",
	"tcpip-forward":                          "remote port forwarding is not given",
	"streamlocal-forward@openssh.com":        "remote socket forwarding is not given",
	"tun@openssh.com":                        "tunnels are not given",
	"auth-agent-req@openssh.com":             "agent forwarding is not given",
	"x11-req":                                "X11 forwarding is not given",
	"subsystem":                              "subsystems are not given; sftp among them: copy with scp -O or rsync",
	"cancel-tcpip-forward":                   "",
	"cancel-streamlocal-forward@openssh.com": "",
}

// refuse reports what was not let through and returns the sentence for the person.
func (p *person) refuse(what, detail string) string {
	reason, ok := reasons[what]
	if !ok {
		reason = "the request " + brevet.Quote(clip(what)) + " is not known here"
	}
	text := "Brevet: " + reason + "."
	if detail != "" {
		text = "Brevet: " + reason + " (" + detail + ")."
	}
	p.report(clip(what), text)
	return text
}

// report reports what was not let through, and closes a connection that has too much of it.
func (p *person) report(what, text string) {
	a := p.admission
	p.server.Gateway.Refuse(gateway.Refusal{
		What: what, Why: text, Person: a.Person, Grant: a.Grant, Target: a.Target.ID, Login: a.Login, Source: p.source,
	})
	if p.tooMuch(time.Now()) {
		p.server.log().WarnContext(p.ctx, "connection closed: too many refused requests", "person", a.Person, "source", p.source)
		p.close()
	}
}

// tooMuch counts one refusal more.
func (p *person) tooMuch(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.refusedSince) > refusedSpan {
		p.refusedSince, p.refused = now, 0
	}
	p.refused++
	return p.refused > maxRefused
}

// refuseChannel says no to a channel; the client prints the sentence.
func (p *person) refuseChannel(c gossh.NewChannel) {
	_ = c.Reject(gossh.Prohibited, p.refuse(c.ChannelType(), destination(c)))
}

// destination is where a forwarded connection wanted to go (RFC 4254 section 7.2).
func destination(c gossh.NewChannel) string {
	if c.ChannelType() != "direct-tcpip" {
		return ""
	}
	var to struct {
		Host string
		Port uint32
		Rest []byte `ssh:"rest"`
	}
	if gossh.Unmarshal(c.ExtraData(), &to) != nil {
		return ""
	}
	return fmt.Sprintf("to %s port %d", brevet.Quote(to.Host[:min(len(to.Host), maxDestShown)]), to.Port)
}

// refuseGlobal answers a request that belongs to the connection and not to a session.
func (p *person) refuseGlobal(r *gossh.Request) {
	switch r.Type {
	case "keepalive@openssh.com", "no-more-sessions@openssh.com", "hostkeys-prove-00@openssh.com":
		_ = r.Reply(false, nil)
	default:
		text := p.refuse(r.Type, "")
		p.remark(text)
		_ = r.Reply(false, nil)
	}
}
