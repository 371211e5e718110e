package ssh

import (
	"context"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/gateway"
	"github.com/brevet-pim/brevet/statement"
)

// dialog asks a person, whose key is proven, what they want and why, and waits for the answer. It
// is made from the proven key and lives for one connection.
type dialog struct {
	login    *login
	want     gateway.Want
	standing gateway.Standing

	ask   gossh.KeyboardInteractiveChallenge
	final error // set once there is nothing more to ask
}

const (
	maxReason   = 1000
	maxTicket   = 100
	attempts    = 3 // at one question
	usualLength = 30 * time.Minute
	usualWait   = brevet.Seconds(3600)
)

// run is called by x/crypto when the client begins keyboard-interactive (RFC 4256). Stock clients
// begin again after a failure; then it only fails again.
func (d *dialog) run(_ gossh.ConnMetadata, ask gossh.KeyboardInteractiveChallenge) (*gossh.Permissions, error) {
	if d.final != nil {
		return nil, errors.New("there is nothing more to ask") // what was wrong has been said
	}
	d.ask = ask
	a, err := d.hold()
	if err != nil {
		d.final = d.login.no(d.want, d.standing.Person, err)
		return nil, d.final
	}
	return d.login.admit(d.want, a, d.say)
}

// hold asks, and returns the grant once it is there.
func (d *dialog) hold() (gateway.Admission, error) {
	o, err := d.choose()
	if err != nil {
		return gateway.Admission{}, err
	}
	request, err := d.fill(o)
	if err != nil {
		return gateway.Admission{}, err
	}
	g := d.login.server.Gateway
	signed, err := statement.New(d.login.ctx, request, g.Signer)
	if err != nil {
		return gateway.Admission{}, err
	}
	id, err := d.hand(signed)
	if err != nil {
		return gateway.Admission{}, err
	}
	if err := d.login.follow(d.want, d.standing.Person, id, "Asked as "+short(id)+". ", d.say); err != nil {
		return gateway.Admission{}, err
	}
	return d.login.granted(d.want)
}

func (d *dialog) hand(signed statement.Envelope) (brevet.RequestID, error) {
	ctx, cancel := context.WithTimeout(d.login.ctx, lookupWithin)
	defer cancel()
	id, err := d.login.server.Gateway.Control.Ask(ctx, signed)
	if err != nil && brevet.KindOf(err) == brevet.Internal {
		err = brevet.Errorf(brevet.Unavailable, "the control plane does not answer, so nothing was asked").
			WithHint("try again later").Because(err)
	}
	return id, err
}

// choose returns the role to ask for.
func (d *dialog) choose() (gateway.Offer, error) {
	offers := d.standing.Offers
	if len(offers) == 1 {
		return offers[0], nil
	}
	chosen := offers[0]
	_, err := d.prompt("Role ["+string(chosen.Role)+"]: ", func(answer string) error {
		for _, o := range offers {
			if answer == "" || answer == string(o.Role) {
				if answer != "" {
					chosen = o
				}
				return nil
			}
		}
		return brevet.Errorf(brevet.Invalid, "no role %s is offered here", brevet.Quote(answer))
	})
	return chosen, err
}

// fill asks for what the role wants to know and returns the request. It says what the gateway saw:
// the key that was proven and where the person comes from.
func (d *dialog) fill(o gateway.Offer) (statement.Request, error) {
	reason, err := d.reason(o)
	if err != nil {
		return statement.Request{}, err
	}
	ticket, err := d.ticket(o)
	if err != nil {
		return statement.Request{}, err
	}
	length, err := d.length(o)
	if err != nil {
		return statement.Request{}, err
	}
	g := d.login.server.Gateway
	terms := o.Terms
	terms.Person, terms.Role, terms.Duration = d.standing.Person, o.Role, brevet.Seconds(length/time.Second)
	terms.Holder = statement.Holder{Machine: g.Machine, Key: gossh.FingerprintSHA256(g.Holder.PublicKey())}
	wait := o.Wait
	if wait <= 0 {
		wait = usualWait
	}
	now := time.Now()
	return statement.Request{
		Header: statement.NewHeader(g.Org, now, now.Add(wait.Duration())),
		Terms:  terms, Reason: reason, Ticket: ticket, Via: brevet.ViaSSH,
		Seen: statement.Seen{Key: d.want.Key, Presence: d.want.Presence, Source: d.want.Source.String()},
	}, nil
}

func (d *dialog) reason(o gateway.Offer) (string, error) {
	if !o.AsksReason {
		return "", nil
	}
	return d.prompt("Reason: ", func(answer string) error {
		if answer == "" {
			return brevet.Errorf(brevet.Invalid, "%s asks why you need it", o.Role)
		}
		return statement.CheckText("reason", answer, maxReason)
	})
}

func (d *dialog) ticket(o gateway.Offer) (string, error) {
	if o.TicketPattern == "" {
		return "", nil
	}
	pattern, err := regexp.Compile("^(?:" + o.TicketPattern + ")$")
	if err != nil {
		return "", brevet.Errorf(brevet.Refused, "role %s asks for a ticket by a pattern that cannot be read", o.Role).Because(err)
	}
	return d.prompt("Ticket ("+plain(o.TicketPattern)+"): ", func(answer string) error {
		if !pattern.MatchString(answer) {
			return brevet.Errorf(brevet.Invalid, "a ticket looks like %s", o.TicketPattern)
		}
		return statement.CheckText("ticket", answer, maxTicket)
	})
}

func (d *dialog) length(o gateway.Offer) (time.Duration, error) {
	length := usual(o)
	_, err := d.prompt("How long ["+span(length)+"]: ", func(answer string) (err error) {
		if answer != "" {
			length, err = parseLength(answer, o.Terms.Duration.Duration())
		}
		return err
	})
	return length, err
}

// usual is what is proposed: half an hour, or the longest that the role gives.
func usual(o gateway.Offer) time.Duration { return min(usualLength, o.Terms.Duration.Duration()) }

// parseLength reads a duration of whole seconds, up to longest.
func parseLength(text string, longest time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(strings.ReplaceAll(text, " ", ""))
	switch {
	case err != nil || d <= 0 || d%time.Second != 0:
		return 0, brevet.Errorf(brevet.Invalid, "write a number and a unit, like 45m or 1h30m")
	case d > longest:
		return 0, brevet.Errorf(brevet.Invalid, "the longest is %s", span(longest))
	}
	return d, nil
}

// describe says in one line what a role gives, up to when, and who must agree.
func describe(want gateway.Want, o gateway.Offer) string {
	line := string(o.Role) + " gives " + want.Login + " for up to " + span(o.Terms.Duration.Duration()) + "; needs " + plain(o.Needs)
	if o.Recorded {
		line += "; recorded"
	}
	return line + "."
}

// prompt asks until good accepts the answer, a few times.
func (d *dialog) prompt(question string, good func(string) error) (string, error) {
	instruction := ""
	for range attempts {
		answers, err := d.ask("", ascii.Replace(instruction), []string{question}, []bool{true})
		if err != nil {
			return "", hungUp(err)
		}
		if len(answers) != 1 {
			return "", errors.New("the client gave " + strconv.Itoa(len(answers)) + " answers")
		}
		answer := strings.TrimSpace(answers[0])
		err = good(answer)
		if err == nil {
			return answer, nil
		}
		message, _ := brevet.MessageOf(err)
		instruction = plain(message)
	}
	return "", brevet.Errorf(brevet.Invalid, "nothing was asked: %s", instruction)
}

// say shows one line; an empty one only shows the client that the gateway is there.
func (d *dialog) say(line string) error {
	_, err := d.ask("", ascii.Replace(line), nil, nil)
	return hungUp(err)
}

// ascii spells out what stock clients would show as octal numbers: they print instructions, unlike
// banners, as they write their log.
var ascii = strings.NewReplacer("…", "...", "–", "-", "’", "'", "“", `"`, "”", `"`)
