package ssh

import (
	"slices"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/record"
)

// setup is what the person asks for before and with the start of a session.
type setup struct {
	command   string // of an exec, or the name of a subsystem
	pty       []byte // payload of pty-req; nil: no terminal
	terminal  record.Terminal
	variables []variable
	refused   error  // why no session may start with this
	what      string // was refused
}

type variable struct{ Name, Value string }

const (
	maxCommand   = 64 << 10
	maxVariables = 64
	maxVariable  = 4 << 10
	maxTerm      = 64
)

// prepare takes requests until one starts the session (RFC 4254 section 6.5); nil if none did.
func (s *session) prepare(requests <-chan *gossh.Request) (setup, *gossh.Request) {
	var c setup
	for r := range requests {
		switch r.Type {
		case "shell":
			return c, r
		case "exec", "subsystem":
			command, ok := readCommand(r.Payload)
			if c.command = command; !ok { // the session ends with the reason, as without a terminal
				c.what, c.refused = r.Type, brevet.Errorf(brevet.Refused, "the command is longer than 64 KiB, or cannot be read").
					WithHint("put it into a file, copy that with scp -O, and run it there")
			}
			return c, r
		case "pty-req":
			_ = r.Reply(s.wantTerminal(&c, r.Payload), nil)
		case "env":
			_ = r.Reply(s.wantVariable(&c, r.Payload), nil)
		default:
			s.answer(r)
		}
	}
	return c, nil
}

// readCommand reads an exec or subsystem request. What follows the command is refused, so that what is
// recorded is all that is passed on.
func readCommand(payload []byte) (string, bool) {
	var start struct{ Command string }
	err := gossh.Unmarshal(payload, &start)
	return start.Command, err == nil && len(start.Command) <= maxCommand
}

// wantTerminal reports whether a terminal can be asked for (RFC 4254 section 6.2). Where the role gives
// none the session ends with the reason, since stock clients hang up before they print it when they
// are told so here.
func (s *session) wantTerminal(c *setup, payload []byte) bool {
	var pty struct {
		Term                         string
		Columns, Rows, Width, Height uint32
		Modes                        string
	}
	if c.pty != nil || gossh.Unmarshal(payload, &pty) != nil || len(pty.Term) > maxTerm {
		return false
	}
	if role := s.person.admission.Role; !slices.Contains(role.SSH.Permit, "pty") {
		c.what, c.refused = "pty-req", brevet.Errorf(brevet.Refused, "role %s gives no terminal", role.Name).WithHint("connect without one: ssh -T")
	}
	c.pty = payload
	c.terminal = record.Terminal{Term: plain(pty.Term), Columns: clampSize(pty.Columns), Rows: clampSize(pty.Rows)}
	if c.terminal == (record.Terminal{}) {
		c.terminal.Term = "dumb" // a terminal of no size and no name is one still: what is typed is not recorded
	}
	s.terminal = true
	return true
}

func clampSize(n uint32) int { return int(min(n, record.MaxSide)) }

// wantVariable keeps a variable that the role lets people set (RFC 4254 section 6.4).
func (s *session) wantVariable(c *setup, payload []byte) bool {
	var v variable
	if gossh.Unmarshal(payload, &v) != nil || len(c.variables) >= maxVariables || len(v.Name)+len(v.Value) > maxVariable {
		return false
	}
	if !allowed(v.Name, s.person.admission.Role.SSH.Environment) || strings.ContainsRune(v.Value, 0) {
		return false
	}
	c.variables = append(c.variables, v)
	return true
}

// harmful are the variables that make a program run other code. No role can give them.
var harmful = []string{
	"LD_*", "DYLD_*", "BASH_ENV", "ENV", "IFS", "PATH", "SHELLOPTS", "BASHOPTS", "PROMPT_COMMAND",
	"PYTHON*", "PERL*", "RUBY*", "NODE_OPTIONS", "GCONV_PATH", "LOCPATH", "NLSPATH", "SSH_*",
}

// allowed reports whether a list of names, some ending in a star, has the name.
func allowed(name string, list []string) bool {
	if name == "" || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") != "" {
		return false
	}
	return matches(name, list) && !matches(name, harmful)
}

func matches(name string, list []string) bool {
	return slices.ContainsFunc(list, func(pattern string) bool {
		if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
			return strings.HasPrefix(name, prefix)
		}
		return name == pattern
	})
}
