package cli

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/brevet-pim/brevet"
	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/cli/home"
	"github.com/brevet-pim/brevet/cli/show"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
)

func (a *app) doctor() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Look at everything that must be well, and say what to do about what is not",
		Long: `Look at this machine, the way to the server, your key, the roster, the log and ssh, and have the server
look at itself. A line that begins with ✓ is well, one with ! works and needs somebody, one with ✗ does not
work. The exit status is 1 if anything does not work, 3 if all works and something needs somebody.`,
		Example: `  brevet doctor
  brevet doctor --output json`,
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			e := &examination{app: a}
			e.run(cmd.Context())
			return e.conclude()
		},
	}
}

// examination is one run of the doctor.
type examination struct {
	*app
	lines   []examined
	session *session
	state   *proof.State
}

// examined is one thing that was looked at.
type examined struct{ mark, about, what, remedy string }

func (e *examination) note(mark, about, what, remedy string) {
	e.lines = append(e.lines, examined{mark, about, what, remedy})
}

func (e *examination) well(about, what string) { e.note(markGood, about, what, "") }

// failed notes an error, with its hint as the remedy.
func (e *examination) failed(about string, err error) {
	message, hint := brevet.MessageOf(err)
	e.note(markBad, about, message, hint)
}

// run looks at one thing after another. What rests on something that does not work is not looked at: one
// cause shall give one line.
func (e *examination) run(ctx context.Context) {
	if !e.profile() {
		return
	}
	e.sshProgram(ctx)
	e.sshConfiguration()
	key := e.keyThere(ctx)
	if !e.server(ctx) || !key || !e.signedIn(ctx) {
		return
	}
	if e.roster(ctx) {
		e.person()
		e.log(ctx)
	}
	e.serverItself(ctx)
}

func (e *examination) profile() bool {
	s, err := e.connect()
	if err != nil {
		e.failed("profile", err)
		return false
	}
	e.session = s
	e.well("profile", string(s.profile.Person)+" at "+s.server+", root "+spaced(s.profile.Root, 4)+" …, in "+s.home.Path(""))
	return true
}

// clockTolerance is how far clocks may differ before signed times cause refusals.
const clockTolerance = 10 * time.Second

// server asks what can be asked without a sign-in: that it is there, pinned, of the right root and time.
func (e *examination) server(ctx context.Context) bool {
	client, err := unsigned(e.session.server, e.session.profile.Pin, nil)
	if err != nil {
		e.failed("server", err)
		return false
	}
	asked := time.Now()
	got, err := client.auth.GetServer(ctx, &brevetv1.GetServerRequest{})
	if err != nil {
		e.failed("server", err)
		return false
	}
	middle := asked.Add(time.Since(asked) / 2)
	if got.GetRoot() != e.session.profile.Root {
		e.note(markBad, "server", "it belongs to another organisation than the root that is pinned here", "ask an administrator for a new code: brevet login CODE")
		return false
	}
	e.well("server", e.session.server+" answers, pinned, organisation "+got.GetOrganisation())
	e.versions(got.GetVersion())
	e.clocks(when(got.GetNow()).Sub(middle))
	return true
}

func (e *examination) versions(server string) {
	if server == e.version {
		e.well("version", e.version+" here and there")
		return
	}
	e.note(markNote, "version", "this is "+e.version+", the server is "+server, "install the server's version here")
}

func (e *examination) clocks(ahead time.Duration) {
	off := ahead.Abs().Round(100 * time.Millisecond).String()
	if ahead.Abs() <= clockTolerance {
		e.well("clock", "within "+off+" of the server's")
		return
	}
	e.note(markBad, "clock", "it differs from the server's by "+off+": what you sign may be refused", "set this machine's clock, by NTP for instance")
}

// keyThere looks for the key without opening it, so that nobody is asked for a passphrase.
func (e *examination) keyThere(ctx context.Context) bool {
	p := e.session.profile
	if !strings.HasPrefix(p.Key, agentPrefix) {
		info, err := os.Stat(p.Key)
		switch {
		case err != nil:
			e.note(markBad, "key", brevet.Quote(p.Key)+" cannot be read", "put it back, or enrol another: brevet login CODE --key FILE")
			return false
		case info.Mode().Perm()&0o077 != 0:
			e.note(markNote, "key", "others may read "+p.Key+"; ssh will not use it", "chmod 600 "+p.Key)
		default:
			e.well("key", "in "+p.Key)
		}
		return true
	}
	keys, err := statement.AgentKeys(ctx, e.socket(p))
	if err != nil {
		e.failed("key", err)
		return false
	}
	for _, k := range keys {
		if fingerprint, err := statement.Fingerprint(k); err == nil && fingerprint == p.Key {
			e.well("key", p.Key+" is in the agent")
			return true
		}
	}
	e.note(markBad, "key", "the agent does not hold "+p.Key+", the key of "+string(p.Person), "ssh-add ~/.ssh/id_ed25519, or whichever file it is in")
	return false
}

func (e *examination) signedIn(ctx context.Context) bool {
	got, err := e.session.auth.WhoAmI(ctx, &brevetv1.WhoAmIRequest{})
	if err != nil {
		e.failed("sign-in", err)
		return false
	}
	e.well("sign-in", "good for "+e.clock().Left(when(got.GetUntil()))+" more")
	return true
}

func (e *examination) roster(ctx context.Context) bool {
	state, err := e.session.roster(ctx)
	if err != nil {
		e.failed("roster", err)
		return false
	}
	e.state = state
	_, number := state.Roster.Head()
	e.well("roster", number64(number)+" statements, verified from the root")
	return true
}

// keyEndsSoon is how long before its end a key should be replaced.
const keyEndsSoon = 14 * 24 * time.Hour

func (e *examination) person() {
	me, now := e.session.profile.Person, time.Now()
	if _, suspended := e.state.Suspended(me, latest); suspended {
		e.note(markBad, "key", string(me)+" is suspended", "ask an administrator: brevet people reinstate "+string(me))
		return
	}
	var last time.Time
	for _, k := range e.state.Roster.KeysOf(me) {
		if _, err := e.state.KeyFor(k.Fingerprint, statement.UseRequest, latest, now.UnixMicro()); err == nil && time.UnixMicro(k.Until).After(last) {
			last = time.UnixMicro(k.Until)
		}
	}
	switch {
	case last.IsZero():
		e.note(markBad, "key", string(me)+" has no enrolled key in force", "ask an administrator for a code: brevet people invite "+string(me))
	case last.Sub(now) < keyEndsSoon:
		e.note(markNote, "key", "enrolled for "+show.Duration(last.Sub(now))+" more only", "ask an administrator for a code: brevet people invite "+string(me))
	}
}

// log compares the log with what this machine saw of it before. Who may not read the log can do without.
func (e *examination) log(ctx context.Context) {
	saved, err := e.savedCheckpoint(e.session.home, e.state, "")
	if err != nil {
		e.failed("log", err)
		return
	}
	newest, err := e.session.compareCheckpoints(ctx, e.state, saved)
	switch {
	case brevet.KindOf(err) == brevet.Refused && saved.Size == 0:
		return
	case err != nil:
		e.failed("log", err)
	case saved.Size == 0:
		e.well("log", number64(newest.Size)+" events; its checkpoint is kept here from now on")
	default:
		e.well("log", number64(newest.Size)+" events, goes on from the "+number64(saved.Size)+" that this machine knew")
	}
}

// levels are the marks of the server's findings.
var levels = map[string]string{"ok": markGood, "note": markGood, "warning": markNote, "error": markBad}

// serverItself has the server look at itself.
func (e *examination) serverItself(ctx context.Context) {
	got, err := e.session.system.Check(ctx, &brevetv1.CheckRequest{})
	if brevet.KindOf(err) == brevet.Refused {
		return // it is for those who run Brevet
	}
	if err != nil {
		e.failed("server", err)
		return
	}
	for _, f := range got.GetFindings() {
		mark, ok := levels[f.GetLevel()]
		if !ok {
			mark = markNote
		}
		e.note(mark, f.GetPlace(), f.GetMessage(), "")
	}
}

// versionTimeout is how long a program may take to say its version.
const versionTimeout = 5 * time.Second

func (e *examination) sshProgram(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ssh", "-V").CombinedOutput()
	if err != nil {
		e.note(markNote, "ssh", "there is no ssh on this machine", "install an OpenSSH client")
		return
	}
	version, _, _ := strings.Cut(strings.TrimSpace(string(out)), ",")
	e.well("ssh", version)
}

// sshConfiguration looks at what brevet ssh-config --install wrote. Who never ran it needs nothing of it.
func (e *examination) sshConfiguration() {
	block, err := e.session.home.Read(home.SSHConfigFile)
	if brevet.KindOf(err) == brevet.NotFound {
		return
	}
	if err != nil {
		e.failed("ssh", err)
		return
	}
	own, err := filepath.Abs(e.session.home.Path(home.SSHConfigFile))
	if err != nil {
		e.failed("ssh", err)
		return
	}
	config, err := os.ReadFile(filepath.Join(e.getenv("HOME"), ".ssh", "config"))
	options, optionsErr := e.sshOptions(e.session)
	const again = "brevet ssh-config --install"
	switch {
	case err != nil || !bytes.Contains(config, []byte(includeLine(own))):
		e.note(markNote, "ssh", "~/.ssh/config does not include "+own, again)
	case optionsErr != nil:
		e.failed("ssh", optionsErr)
	case !bytes.Contains(block, []byte(options[0].value)):
		e.note(markNote, "ssh", own+" is of another place of this program or of the folder", again)
	default:
		e.well("ssh", "LOGIN@TARGET"+hostSuffix+" goes through Brevet")
	}
}

// conclude prints what was found, and is an error if something does not work or somebody is needed.
func (e *examination) conclude() error {
	needs, status := 0, statusNeedsYou
	list := make([]any, len(e.lines))
	for i, l := range e.lines {
		if l.mark != markGood {
			needs++
		}
		if l.mark == markBad {
			status = statusFailure
		}
		list[i] = map[string]any{"mark": l.mark, "about": l.about, "what": l.what, "remedy": l.remedy}
	}
	err := e.printFields(map[string]any{"lines": list, "needs": float64(needs)}, func() error {
		for _, l := range e.lines {
			e.marked(e.out, l.mark, "%s: %s", l.about, l.what)
			if l.remedy != "" {
				e.say("    %s", l.remedy)
			}
		}
		return nil
	})
	if needs == 0 || err != nil {
		return err
	}
	verb := "things need you"
	if needs == 1 {
		verb = "thing needs you"
	}
	e.tell("exit %d: %s %s", status, number(needs), verb)
	return exit(status)
}
