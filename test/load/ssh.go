package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet/test/testenv"
)

// ways are how a stock client reaches the same sshd: through the recording gateway, directly, and
// through a second sshd (ProxyJump).
var ways = []string{"gateway", "direct", "jump"}

// road is everything between a stock ssh client and one target.
type road struct {
	*organisation
	client *testenv.Client
	by     *caller // has the grant
	random string  // file of random bytes
	o      options
}

// measureSSH compares the ways in bulk, in keystrokes and in logins, and then opens many sessions
// and takes their grants back.
func measureSSH(ctx context.Context, o options, r *report) error {
	org, err := newOrganisation(ctx, o, o.dir, revokees+1)
	if err != nil {
		return err
	}
	defer org.close()
	s := &road{organisation: org, o: o, random: filepath.Join(org.dir, "random")}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	for _, part := range []func(context.Context, *report) error{s.bulk, s.logins, s.keystrokes, s.crowd} {
		if err := part(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// prepare gives the first person a grant, and a client that knows all ways.
func (s *road) prepare(ctx context.Context) (err error) {
	p := s.people[0]
	if s.by, err = s.caller(ctx, p); err != nil {
		return err
	}
	if _, err := s.by.granted(ctx); err != nil {
		return err
	}
	dir := filepath.Join(s.dir, "client")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if s.client, err = testenv.NewClient(dir); err != nil {
		return err
	}
	if _, err := s.client.AddKey("id", s.by.key, nil); err != nil {
		return err
	}
	host, port, _ := strings.Cut(s.ssh, ":")
	direct := []string{"HostName 127.0.0.1", "Port " + s.target.Port(), "User " + s.login}
	lines := slices.Concat(
		// The gateway's key is not what is measured here.
		[]string{"Host gateway", "HostName " + host, "Port " + port, "User " + s.login + "%web1", "StrictHostKeyChecking no", "UserKnownHostsFile /dev/null"},
		[]string{"Host direct first"}, direct, []string{"Host jump", "ProxyJump first"}, direct, []string{"Host *", "LogLevel ERROR"},
	)
	if err := s.client.Configure(lines...); err != nil {
		return err
	}
	if err := s.client.Trust(s.target.KnownHost()); err != nil {
		return err
	}
	return writeRandom(s.random, s.o.bulk/2)
}

func writeRandom(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := io.CopyN(f, rand.Reader, size); err != nil {
		return err
	}
	return f.Close()
}

// stock runs the system's ssh to its end.
func (s *road) stock(ctx context.Context, stdin io.Reader, way, command string) (time.Duration, error) {
	cmd := s.client.Command(ctx, way, command)
	var besides strings.Builder
	cmd.Stdin, cmd.Stderr = stdin, &besides
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("ssh %s %s: %w: %s", way, command, err, besides.String())
	}
	return time.Since(began), nil
}

// load is one kind of bulk.
type load struct {
	name    string
	size    int64
	command string
	upload  bool
	least   float64 // of the direct rate, to meet the goal
}

// bulk moves much by each way in turn, and checks that the gateway recorded every byte of it.
func (s *road) bulk(ctx context.Context, r *report) error {
	alice, err := s.caller(ctx, s.alice)
	if err != nil {
		return err
	}
	random := s.o.bulk / 2
	var rows []row
	for _, l := range []load{
		{"zeros, download", s.o.bulk, fmt.Sprintf("head -c %d /dev/zero", s.o.bulk), false, 1},
		{"random, download", random, "cat " + s.random, false, 0.7},
		{"random, upload", random, "cat >/dev/null", true, 0.7},
	} {
		took := map[string]times{}
		var moving, delivering time.Duration // processor time of the server's
		for range s.o.rounds {
			for _, way := range ways {
				d, used, err := s.moveAndSettle(ctx, alice, l, way)
				if err != nil {
					return err
				}
				took[way] = append(took[way], d)
				moving, delivering = moving+used[0], delivering+used[1]
			}
		}
		if err := s.checkRecorded(ctx, alice, l); err != nil {
			return err
		}
		gateway, direct, jump := took["gateway"].at(50), took["direct"].at(50), took["jump"].at(50)
		of := direct.Seconds() / gateway.Seconds()
		rows = append(rows,
			row{l.name, rate(l.size, gateway), "direct: " + rate(l.size, direct), ratioOf(direct, gateway), fmt.Sprintf("≥ %.1f of direct", l.least), of >= l.least},
			row{"", "", "ProxyJump: " + rate(l.size, jump), ratioOf(jump, gateway), "ahead of ProxyJump", gateway < jump},
			row{figure: "CPU: " + perGB(moving, l.size, s.o.rounds), beside: "to deliver it: " + perGB(delivering, l.size, s.o.rounds)})
	}
	r.section(fmt.Sprintf("SSH in bulk, stock client, its default cipher, %d MB of zeros and %d of random data, every byte recorded", s.o.bulk>>20, random>>20), rows...)
	return nil
}

func rate(size int64, took time.Duration) string {
	return fmt.Sprintf("%.0f MB/s", float64(size)/1e6/took.Seconds())
}

// moveAndSettle moves the load, and then waits until all that was recorded is delivered, which is work
// that would slow down what comes next. It returns the server's processor time for the one and the other.
func (s *road) moveAndSettle(ctx context.Context, alice *caller, l load, way string) (took time.Duration, used [2]time.Duration, err error) {
	began, err := s.server.cpu()
	if err != nil {
		return 0, used, err
	}
	if took, err = s.move(ctx, l, way); err != nil {
		return 0, used, err
	}
	moved, err := s.server.cpu()
	if err != nil {
		return 0, used, err
	}
	if _, err := s.sealed(ctx, alice); err != nil {
		return 0, used, err
	}
	settled, err := s.server.cpu()
	return took, [2]time.Duration{moved - began, settled - moved}, err
}

// perGB is the processor time of a GB, of which so many rounds took cpu.
func perGB(cpu time.Duration, size int64, rounds int) string {
	return fmt.Sprintf("%.2f s/GB", cpu.Seconds()*1e9/float64(size)/float64(rounds))
}

func (s *road) move(ctx context.Context, l load, way string) (time.Duration, error) {
	if !l.upload {
		return s.stock(ctx, nil, way, l.command)
	}
	f, err := os.Open(s.random)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return s.stock(ctx, f, way, l.command)
}

// logins has a stock client connect, run true, and leave, by each way in turn.
func (s *road) logins(ctx context.Context, r *report) error {
	took := map[string]times{}
	for range s.o.logins {
		for _, way := range ways {
			d, err := s.stock(ctx, nil, way, "true")
			if err != nil {
				return err
			}
			took[way] = append(took[way], d)
		}
	}
	gateway, direct, jump := took["gateway"], took["direct"], took["jump"]
	r.section("SSH login and true, stock client",
		row{what: "login", figure: gateway.String(), beside: "direct: " + direct.String(), ratio: ratioOf(gateway.at(50), direct.at(50))},
		row{beside: "ProxyJump: " + jump.String(), ratio: ratioOf(gateway.at(50), jump.at(50)), goal: "ahead of ProxyJump", met: gateway.at(50) < jump.at(50)})
	return nil
}

// between is the pause between two keystrokes: nobody types back to back.
const between = time.Millisecond

// keystrokes sends one byte at a time to a cat on a terminal of the target and waits for its echo,
// by turns through the gateway and directly.
func (s *road) keystrokes(ctx context.Context, r *report) error {
	gateway, err := s.dial(s.by, "gateway")
	if err != nil {
		return err
	}
	defer gateway.Close()
	direct, err := s.dial(s.by, "direct")
	if err != nil {
		return err
	}
	defer direct.Close()
	through, err := newTypist(gateway)
	if err != nil {
		return err
	}
	straight, err := newTypist(direct)
	if err != nil {
		return err
	}
	for len(straight.took) < s.o.keys {
		for _, t := range []*typist{through, straight} {
			if err := t.strike(50); err != nil {
				return err
			}
		}
	}
	added := through.took.at(99) - straight.took.at(99)
	r.section("SSH, the echo of one keystroke on a terminal",
		row{what: "echo", figure: through.took.String(), beside: "direct: " + straight.took.String(), ratio: ratioOf(through.took.at(50), straight.took.at(50))},
		row{what: "added at p50", figure: short(through.took.at(50) - straight.took.at(50))},
		row{what: "added at p99", figure: short(added), goal: "< 500µs", met: added < 500*time.Microsecond})
	return nil
}

// dial connects a client of this process's own, with the cipher that stock clients agree on with the gateway.
func (s *road) dial(c *caller, way string) (*ssh.Client, error) {
	signer, err := ssh.NewSignerFromKey(c.key)
	if err != nil {
		return nil, err
	}
	addr, user, known := s.ssh, s.login+"%web1", ssh.InsecureIgnoreHostKey() // the key is not what is measured
	if way == "direct" {
		addr, user = s.target.Addr, s.login
	}
	return ssh.Dial("tcp", addr, &ssh.ClientConfig{
		Config: ssh.Config{Ciphers: []string{ssh.CipherAES128GCM}}, User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: known,
	})
}

// typist is a terminal at which somebody types.
type typist struct {
	in   io.Writer
	out  io.Reader
	took times
}

func newTypist(c *ssh.Client) (*typist, error) {
	s, err := c.NewSession()
	if err != nil {
		return nil, err
	}
	var t typist
	if t.in, err = s.StdinPipe(); err != nil {
		return nil, err
	}
	if t.out, err = s.StdoutPipe(); err != nil {
		return nil, err
	}
	command := "cat" // which echoes where there is no terminal
	if testenv.CanGiveTerminals() == nil {
		if err := s.RequestPty("xterm", 24, 80, ssh.TerminalModes{ssh.ECHO: 0}); err != nil {
			return nil, err
		}
		command = "stty raw -echo; echo ready; cat"
	} else {
		command = "echo ready; cat"
	}
	if err := s.Start(command); err != nil {
		return nil, err
	}
	return &t, t.await("ready\n")
}

// await reads up to the text.
func (t *typist) await(text string) error {
	var got strings.Builder
	one := make([]byte, 1)
	for !strings.HasSuffix(got.String(), text) {
		if _, err := io.ReadFull(t.out, one); err != nil {
			return fmt.Errorf("waited for %q, there is %q: %w", text, got.String(), err)
		}
		got.Write(one)
	}
	return nil
}

func (t *typist) strike(n int) error {
	key := []byte{'x'}
	for range n {
		time.Sleep(between)
		start := time.Now()
		if _, err := t.in.Write(key); err != nil {
			return err
		}
		if _, err := io.ReadFull(t.out, key); err != nil {
			return err
		}
		t.took = append(t.took, time.Since(start))
	}
	return nil
}
