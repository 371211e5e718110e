package model_test

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/brevet-pim/brevet"
)

// verb is what a move does.
type verb int

const (
	ask verb = iota
	approve
	refuse
	revoke
	suspend
	reinstate
	apply
	retire
	enrol
	begin
	end
	confirm
	clock
	rest
	restart
)

var verbs = []string{"ask", "approve", "refuse", "revoke", "suspend", "reinstate", "apply", "retire", "enrol", "begin", "end", "confirm", "clock", "rest", "restart"}

// weights are how often each verb is drawn.
var weights = []int{22, 26, 6, 7, 3, 4, 4, 2, 3, 7, 4, 5, 4, 3, 2}

// hook is when something else happens: beside the move, or when the issuer is called within it.
type hook int

const (
	alone hook = iota
	together
	beforePrepare
	afterPrepare
	beforeIssue
	afterIssue
	beforeTakeBack
	beforeFollow
)

// inIssuer is how many hooks are calls of the issuer.
const inIssuer = int(beforeFollow - together)

var hooks = []string{"", "together with", "before Prepare", "after Prepare", "before Issue", "after Issue", "before TakeBack", "before Follow"}

// move is one thing that somebody does. What it is about is chosen by number among what there is when
// it is made, so that every part of a list of moves is a list of moves.
type move struct {
	verb verb
	by   brevet.PersonID
	pick int // which request, grant or session, counted from the newest
	form int // in which way

	when hook
	with *move // what happens then; nil: the process dies
}

func (m move) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s", verbs[m.verb])
	switch m.verb {
	case ask:
		fmt.Fprintf(&b, " %s %s", m.by, askForms[m.form])
		fmt.Fprintf(&b, " %s", roles[m.pick%len(roles)])
	case approve:
		fmt.Fprintf(&b, " %s #%d %s", m.by, m.pick, approveForms[m.form])
	case apply:
		fmt.Fprintf(&b, " %s", variants[m.form%len(variants)].name)
	case clock:
		fmt.Fprintf(&b, " %s", shifts[m.form%len(shifts)])
	case rest, restart, confirm:
	default:
		fmt.Fprintf(&b, " %s #%d", m.by, m.pick)
	}
	switch {
	case m.when == alone:
	case m.with == nil:
		fmt.Fprintf(&b, ", and dies %s", hooks[m.when])
	default:
		fmt.Fprintf(&b, ", %s: %s", hooks[m.when], m.with)
	}
	return b.String()
}

// The people who act. frank may nothing, and tries.
var people = []brevet.PersonID{"alice", "bob", "carol", "dave", "erin", "frank"}

var roles = []brevet.RoleName{"web-root", "web-now", "web-two", "db-admin"}

// draw draws a list of moves.
func draw(random *rand.Rand, n int) []move {
	moves := make([]move, n)
	for i := range moves {
		moves[i] = drawOne(random)
		switch chance := random.IntN(100); {
		case chance < 4 && moves[i].issues():
			moves[i].when = beforePrepare + hook(random.IntN(inIssuer)) // the process dies there
		case chance < 12 && moves[i].issues():
			moves[i].when, moves[i].with = beforePrepare+hook(random.IntN(inIssuer-1)), drawOther(random) // whoever waits for the issuer would wait for themselves
		case chance < 20 && moves[i].verb < rest:
			moves[i].when, moves[i].with = together, drawOther(random)
		case chance < 22 && moves[i].verb < rest:
			moves[i].when = together
		}
	}
	return moves
}

// issues reports whether the issuer is called within the move.
func (m move) issues() bool { return m.verb <= enrol }

func drawOne(random *rand.Rand) move {
	m := move{verb: drawVerb(random), by: people[random.IntN(len(people))], pick: newest(random)}
	switch m.verb {
	case ask:
		m.by = []brevet.PersonID{"bob", "bob", "bob", "carol", "carol", "erin"}[random.IntN(6)]
		m.pick = random.IntN(len(roles))
		m.form = mostly(random, len(askForms))
	case approve:
		m.by = []brevet.PersonID{"alice", "carol", "dave", "erin", "bob"}[random.IntN(5)]
		m.form = mostly(random, len(approveForms))
	case refuse, revoke:
		m.by = []brevet.PersonID{"alice", "bob", "carol", "dave", "erin"}[random.IntN(5)]
	case suspend, reinstate, retire, enrol:
		m.pick = random.IntN(len(people))
	case apply:
		m.form = mostly(random, len(variants))
	default:
		m.form = random.IntN(64)
	}
	return m
}

// drawOther draws what happens in the middle of another move: never what takes time or the process away.
func drawOther(random *rand.Rand) *move {
	for {
		if m := drawOne(random); m.verb < rest {
			return &m
		}
	}
}

func drawVerb(random *rand.Rand) verb {
	total := 0
	for _, w := range weights {
		total += w
	}
	n := random.IntN(total)
	for v, w := range weights {
		if n -= w; n < 0 {
			return verb(v)
		}
	}
	return rest
}

// newest draws small numbers most of the time: what is new is what moves.
func newest(random *rand.Rand) int { return min(random.IntN(4), random.IntN(8)) }

// mostly draws 0 half of the time.
func mostly(random *rand.Rand, n int) int {
	if random.IntN(2) == 0 {
		return 0
	}
	return random.IntN(n)
}
