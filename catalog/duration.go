package catalog

import (
	"strconv"
	"strings"

	"github.com/brevet-pim/brevet"
)

// Bounds and defaults of durations. A grant longer than a week is a standing privilege.
const (
	maxDuration brevet.Seconds = 7 * 24 * 3600
	maxIdle     brevet.Seconds = 24 * 3600
	maxWait     brevet.Seconds = 7 * 24 * 3600

	defaultIdle brevet.Seconds = 15 * 60
	defaultWait brevet.Seconds = 3600
)

// noIdle stands for an idle limit of zero, which is none: a zero would look like "at once".
const noIdle = "none"

// defaultPresence is what an approver's key must show if the role does not say: a touch for
// what is high or critical, so that malware on an approver's machine cannot approve by itself.
func defaultPresence(s brevet.Sensitivity) brevet.Presence {
	if s.AtLeast(brevet.High) {
		return brevet.TouchPresence
	}
	return brevet.NoPresence
}

// ParseDuration reads a duration as people write it in a catalog: whole numbers with the units
// d, h, m, s in this order, as in 1h, 45m, 1h30m. Its errors are Invalid, with the remedy as hint.
func ParseDuration(s string) (brevet.Seconds, error) {
	wrong := func() error {
		return brevet.Errorf(brevet.Invalid, "%s", brevet.Quote(shorten(s))).WithHint("write a number and a unit, like 1h or 45m")
	}
	units := []struct {
		letter  string
		seconds int64
	}{{"d", 86400}, {"h", 3600}, {"m", 60}, {"s", 1}}
	total, rest, read := int64(0), s, false
	for _, unit := range units {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		if digits == 0 || digits > 9 || !strings.HasPrefix(rest[digits:], unit.letter) {
			continue
		}
		n, err := strconv.ParseInt(rest[:digits], 10, 64)
		if err != nil {
			return 0, wrong()
		}
		total += n * unit.seconds
		rest, read = rest[digits+1:], true
	}
	if !read || rest != "" {
		return 0, wrong()
	}
	return brevet.Seconds(total), nil
}
