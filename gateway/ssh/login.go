package ssh

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/gateway"
	"github.com/brevet-pim/brevet/statement"
)

// login is one connection proving who is there, and for what.
//
// Nothing is decided by a key that was only offered: x/crypto calls offered for keys that nobody
// proved to hold (CVE-2024-45337). verified is called with the key whose signature was just
// checked, and what it finds travels in the Permissions that it returns, or in the callback of
// the next step, never in this struct.
type login struct {
	server   *Server
	ctx      context.Context // ends when the peer is gone
	source   netip.Addr
	leave    func() // lets go of the place among strangers
	out      func() // lets go of the person's place inside
	admitted func() // called before the client is told that it is logged in
	deadline *time.Timer
	typed    string          // name typed by the person, from TLS
	target   brevet.TargetID // that it names
	pre      gossh.ServerPreAuthConn

	user      string   // for the log
	strangers []string // fingerprints of proven keys that are nobody's
	known     bool     // some key was somebody's
}

const (
	lookupWithin   = 10 * time.Second
	loginWithin    = 12 * time.Hour // of waiting for an approval; requests lapse sooner
	answerWithin   = 10 * time.Minute
	maxWaiting     = 16   // logins of one person that wait for an answer at a time
	maxInside      = 1000 // connections of one person at a time; a pipeline may have many
	tellAtLeast    = 4 * time.Second
	maxStrangeKeys = 6
)

// entrance is what a login leads to. It is found in the Permissions of the step that succeeded.
type entrance struct {
	admission gateway.Admission
	want      gateway.Want
	target    *dialing
}

// entranceKey is where Permissions.ExtraData holds the entrance.
type entranceKey struct{}

// offered is called for keys that are only offered. It looks at nothing but their kind.
func (l *login) offered(_ gossh.ConnMetadata, key gossh.PublicKey) (*gossh.Permissions, error) {
	if _, ok := key.(*gossh.Certificate); ok {
		return nil, errors.New("user certificates are not accepted: use the enrolled key itself")
	}
	return nil, nil
}

// verified is called when the client has proven that it holds the key.
func (l *login) verified(c gossh.ConnMetadata, key gossh.PublicKey, _ *gossh.Permissions, _ string) (*gossh.Permissions, error) {
	l.user = c.User()
	want, err := l.want(c.User(), key)
	if err != nil {
		return nil, l.no(want, "", err)
	}
	standing, err := l.lookup(want)
	if err != nil {
		return nil, l.no(want, "", err)
	}
	if standing.Person == "" {
		if len(l.strangers) < maxStrangeKeys {
			l.strangers = append(l.strangers, want.Key)
		}
		return nil, errors.New("the key " + want.Key + " is not enrolled")
	}
	l.prove()
	switch {
	case len(standing.Admissions) > 0:
		return l.admit(want, standing.Admissions[0], l.banner)
	case standing.Pending != "":
		return l.wait(want, standing)
	case len(standing.Offers) > 0:
		return nil, l.propose(want, standing)
	}
	return nil, l.no(want, standing.Person, nothing(want, standing))
}

// nothing is the sentence for somebody who can have nothing here.
func nothing(want gateway.Want, standing gateway.Standing) error {
	if standing.Refusal != "" {
		return brevet.Errorf(brevet.Refused, "%s", standing.Refusal)
	}
	return brevet.Errorf(brevet.Refused, "%s, and may not ask for it", noGrant(want)).
		WithHint("brevet roles lists what you may have")
}

// noGrant says no more than is known here: another login, or another gateway, may be granted.
func noGrant(want gateway.Want) string {
	return "you hold no grant for " + want.Login + " on " + string(want.Target) + " through this gateway"
}

// want says what the user name, or the typed name, asks for.
func (l *login) want(user string, key gossh.PublicKey) (gateway.Want, error) {
	want := gateway.Want{
		Target: l.target, Login: user, Source: l.source,
		Key: gossh.FingerprintSHA256(key), Presence: presenceOf(key),
	}
	if l.typed == "" {
		at := strings.LastIndexByte(user, '%')
		if at < 0 {
			return want, brevet.Errorf(brevet.Invalid, "the user name %s names no target", brevet.Quote(clip(user))).
				WithHint("write ssh LOGIN%%TARGET@gateway, as in root%%web1, or set up ssh root@web1%s with brevet ssh-config", Suffix)
		}
		want.Login, want.Target = user[:at], brevet.TargetID(user[at+1:])
	}
	if err := brevet.CheckName("target", string(want.Target)); err != nil {
		want.Target = ""
		return want, err
	}
	if err := statement.CheckLogin("login", want.Login); err != nil {
		want.Login = ""
		return want, err
	}
	return want, nil
}

func clip(s string) string { return s[:min(len(s), 64)] }

// presenceOf is what a proof by the key shows of the person. x/crypto refuses a FIDO key's
// signature that does not attest a touch, and tells no more than that.
func presenceOf(key gossh.PublicKey) brevet.Presence {
	switch key.Type() {
	case gossh.KeyAlgoSKED25519, gossh.KeyAlgoSKECDSA256:
		return brevet.TouchPresence
	}
	return brevet.NoPresence
}

func (l *login) lookup(want gateway.Want) (gateway.Standing, error) {
	ctx, cancel := context.WithTimeout(l.ctx, lookupWithin)
	defer cancel()
	standing, err := l.server.Gateway.Lookup(ctx, want)
	if err != nil && brevet.KindOf(err) != brevet.Refused {
		err = brevet.Errorf(brevet.Unavailable, "the control plane does not answer, so nothing new can begin").
			WithHint("sessions that are open go on; try again later").Because(err)
	}
	return standing, err
}

// again is what the person does to come once more.
func (l *login) again() string {
	if l.typed == "" {
		return "connect once more"
	}
	return "ssh " + plain(l.user) + "@" + l.typed
}

// hurry closes a connection that is still logging in when the server ends or the peer is gone.
func (l *login) hurry() { l.deadline.Reset(0) }

// prove ends the hurry of strangers: a person is there.
func (l *login) prove() {
	l.known = true
	l.leave()
	l.deadline.Reset(answerWithin)
}

// admit begins to connect to the target while the client still finishes its login.
func (l *login) admit(want gateway.Want, a gateway.Admission, say func(string) error) (*gossh.Permissions, error) {
	if a.Role.Recording != brevet.RecordingOff {
		left := time.Until(a.To).Round(time.Second)
		if err := say("Brevet: this session is recorded. Your grant on " + string(a.Target.ID) + " ends in " + span(left) + "."); err != nil {
			return nil, err
		}
	}
	if !l.server.inside.enter(a.Person, maxInside) {
		return nil, l.no(want, a.Person, brevet.Errorf(brevet.Limited, "%d of your connections are open already", maxInside).
			WithHint("close some of them"))
	}
	l.out = func() { l.server.inside.leave(a.Person) }
	l.admitted()
	e := entrance{admission: a, want: want, target: l.server.dial(l.ctx, a, want)}
	return &gossh.Permissions{ExtraData: map[any]any{entranceKey{}: e}}, nil
}

// propose tells what may be asked for, and passes on to the dialog. A client that cannot answer
// questions (BatchMode) gives up there, so all that its user needs is said here.
func (l *login) propose(want gateway.Want, standing gateway.Standing) error {
	if err := l.banner(proposal(want, standing.Offers)); err != nil {
		return err
	}
	d := &dialog{login: l, want: want, standing: standing}
	return &gossh.PartialSuccessError{Next: gossh.ServerAuthCallbacks{KeyboardInteractiveCallback: d.run}}
}

func proposal(want gateway.Want, offers []gateway.Offer) string {
	var b strings.Builder
	b.WriteString("Brevet: " + noGrant(want) + ".")
	for _, o := range offers {
		b.WriteString("\n" + describe(want, o))
	}
	b.WriteString("\nWithout a terminal: " + command(want, offers[0]))
	return b.String()
}

// command is how to ask for what is offered without this dialog.
func command(want gateway.Want, o gateway.Offer) string {
	return "brevet request " + string(o.Role) + " " + string(want.Target) + " --for " + span(usual(o)) + " --reason …"
}

// wait follows a request that is already open, with banners only: that works for clients with
// and without a terminal.
func (l *login) wait(want gateway.Want, standing gateway.Standing) (*gossh.Permissions, error) {
	if err := l.follow(want, standing.Person, standing.Pending, waiting(want, standing), l.banner); err != nil {
		return nil, l.no(want, standing.Person, err)
	}
	a, err := l.granted(want)
	if err != nil {
		return nil, l.no(want, standing.Person, err)
	}
	return l.admit(want, a, l.banner)
}

// waiting says which request is waited for, and the ways out: to take it back, or to ask for a role that gives
// the same at once.
func waiting(want gateway.Want, standing gateway.Standing) string {
	id := short(standing.Pending)
	text := "Brevet: your request " + id + " is open; brevet cancel " + id + " takes it back.\n"
	if i := slices.IndexFunc(standing.Offers, func(o gateway.Offer) bool { return o.AtOnce }); i >= 0 {
		o := standing.Offers[i]
		text += string(o.Role) + " gives " + want.Login + " at once: " + command(want, o) + ", then connect again.\n"
	}
	return text
}

// granted looks the new grant up.
func (l *login) granted(want gateway.Want) (gateway.Admission, error) {
	standing, err := l.lookup(want)
	if err != nil {
		return gateway.Admission{}, err
	}
	if len(standing.Admissions) == 0 {
		return gateway.Admission{}, nothing(want, standing)
	}
	return standing.Admissions[0], nil
}

// follow says how a request stands until it is decided: nil when its grant can be used. Something
// is sent every few seconds, since a client with ServerAliveInterval gives up on silence.
func (l *login) follow(want gateway.Want, person brevet.PersonID, id brevet.RequestID, first string, say func(string) error) error {
	if !l.server.waiting.enter(person, maxWaiting) {
		return brevet.Errorf(brevet.Limited, "%d of your connections wait for an answer already", maxWaiting).
			WithHint("brevet requests lists what you asked for; brevet cancel takes one back")
	}
	defer l.server.waiting.leave(person)
	l.deadline.Reset(loginWithin)
	ctx, cancel := context.WithCancel(l.ctx)
	progress, done := make(chan string), make(chan error, 1)
	l.server.busy.Go(func() {
		done <- l.server.Gateway.Control.Follow(ctx, id, func(p gateway.Progress) error {
			select {
			case progress <- p.Sentence:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	err := tell(ctx, first, progress, done, say)
	cancel()
	l.deadline.Reset(answerWithin)
	return err
}

// tell says each sentence once, and nothing, audibly, in between.
func tell(ctx context.Context, first string, progress <-chan string, done <-chan error, say func(string) error) error {
	tick := time.NewTicker(tellAtLeast)
	defer tick.Stop()
	last := ""
	for {
		line := ""
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-done:
			return err
		case sentence := <-progress:
			if sentence != last {
				line, last = first+capital(plain(sentence)), sentence
				first = ""
			}
		case <-tick.C:
			line, first = first, ""
		}
		if err := say(line); err != nil {
			return err
		}
	}
}

// banner shows text, which the client prints before it is logged in. Empty text is a sign of life.
func (l *login) banner(text string) error {
	if text != "" {
		text += "\n"
	}
	return hungUp(l.pre.SendAuthBanner(text))
}

// errHungUp is the cause of what fails on the client's side of the connection: nobody hears of it, and
// nothing is wrong with Brevet. With TLS it comes before the connection itself has ended.
var errHungUp = errors.New("the client hung up")

func hungUp(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errHungUp, err)
}

// no tells the person why not, and reports it. The error that it returns fails the attempt.
func (l *login) no(want gateway.Want, person brevet.PersonID, why error) error {
	if l.ctx.Err() != nil {
		return l.ctx.Err() // nobody is there to hear it
	}
	if errors.Is(why, errHungUp) {
		l.server.log().InfoContext(l.ctx, "the client hung up before it was let in", "person", person, "target", want.Target, "source", l.source)
		return why
	}
	text := sentence(why)
	if person != "" {
		l.server.Gateway.Refuse(gateway.Refusal{
			What: "login", Why: text, Person: person, Target: want.Target, Login: want.Login, Key: want.Key, Source: want.Source,
		})
	}
	l.known = true // it has been explained
	return &gossh.BannerError{Err: why, Message: text + "\n"}
}

// explain answers clients that have run out of keys: the one moment to say that none is enrolled.
// It logs nobody in.
func (l *login) explain(_ gossh.ConnMetadata, ask gossh.KeyboardInteractiveChallenge) (*gossh.Permissions, error) {
	none := errors.New("no enrolled key was proven")
	if l.known {
		return nil, none
	}
	l.known = true
	text := "Brevet: you offered no key. Load one that is enrolled: ssh-add FILE, or ssh -i FILE"
	if len(l.strangers) > 0 {
		text = "Brevet: nobody is enrolled with " + strings.Join(l.strangers, ", ") +
			".\nChoose another key with ssh -i FILE, or ask an administrator for a code and run brevet login CODE"
	}
	if _, err := ask("", text, nil, nil); err != nil {
		return nil, err
	}
	return nil, none
}
