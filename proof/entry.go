package proof

import (
	"math"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/statement"
)

// Entry is a statement with its place in the log.
type Entry struct {
	Index    int64 // of its leaf
	Envelope statement.Envelope
	// NotBefore is a time, in microseconds, at which the leaf certainly did not stand in the
	// log yet; 0 if nothing is known. Whoever follows the log knows it: the last time that it
	// looked. A statement or key that was over by then is refused, whatever it says of itself.
	NotBefore int64
}

// never is the index of a leaf that has not come: later than all.
const never = math.MaxInt64

// End is the place after all that a State has taken in: what is in force there is in force now.
const End int64 = never

// clockSlack is by how much the clocks of two honest machines may differ.
const clockSlack = 5 * time.Minute

// refuse returns a Refused error.
func refuse(format string, args ...any) *brevet.Error {
	return brevet.Errorf(brevet.Refused, format, args...)
}

// within returns err as a Refused error whose sentence begins with where it arose. The hint and the
// cause stay. What failed inside Brevet stays internal.
func within(err error, format string, args ...any) error {
	if brevet.KindOf(err) == brevet.Internal {
		return err
	}
	message, hint := brevet.MessageOf(err)
	e := refuse(format+": %s", append(args, message)...).Because(err)
	if hint != "" {
		e = e.WithHint("%s", hint)
	}
	return e
}
