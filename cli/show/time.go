package show

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/brevet-pim/brevet"
)

// Clock shows times to people: relative ones unless exact ones are asked for, local ones
// unless UTC is.
type Clock struct {
	Now   time.Time
	UTC   bool
	Exact bool
}

// Ago shows how long before now t was, as in "20s" or "3h".
func (c Clock) Ago(t time.Time) string { return c.relative(t, c.Now.Sub(t)) }

// Left shows how long after now t is, as in "11m", and "over" if it has passed.
func (c Clock) Left(t time.Time) string {
	if !c.Exact && !t.IsZero() && !t.After(c.Now) {
		return "over"
	}
	return c.relative(t, t.Sub(c.Now))
}

func (c Clock) relative(t time.Time, d time.Duration) string {
	switch {
	case t.IsZero():
		return ""
	case c.Exact:
		return c.exact(t)
	}
	return Duration(max(d, 0))
}

// At shows the time of day, with the date if it is not today's.
func (c Clock) At(t time.Time) string { return c.at(t, "15:04") }

// Moment is At to the second.
func (c Clock) Moment(t time.Time) string { return c.at(t, "15:04:05") }

func (c Clock) at(t time.Time, layout string) string {
	if t.IsZero() {
		return ""
	}
	if c.Exact {
		return c.exact(t)
	}
	t, now := c.zone(t), c.zone(c.Now)
	if t.YearDay() != now.YearDay() || t.Year() != now.Year() {
		layout = "2006-01-02 " + layout
	}
	return t.Format(layout)
}

func (c Clock) exact(t time.Time) string { return c.zone(t).Format("2006-01-02T15:04:05.000Z07:00") }

func (c Clock) zone(t time.Time) time.Time {
	if c.UTC {
		return t.UTC()
	}
	return t.Local()
}

// units from the largest; a duration shows the two largest that it has.
var units = []struct {
	name string
	size time.Duration
}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}}

// Duration shows d shortly, as in "45s", "15m", "1h30m", "3d4h": its two largest units, the rest
// cut off. What is shown of a whole number of seconds under two units is exact.
func Duration(d time.Duration) string {
	if d < time.Second {
		return "0s"
	}
	for i, u := range units {
		if d < u.size {
			continue
		}
		out := fmt.Sprintf("%d%s", d/u.size, u.name)
		if rest := d % u.size; i+1 < len(units) && rest >= units[i+1].size {
			out += fmt.Sprintf("%d%s", rest/units[i+1].size, units[i+1].name)
		}
		return out
	}
	return "0s"
}

// ExactDuration shows d with every unit that it has, for text that is signed.
func ExactDuration(s brevet.Seconds) string {
	rest, out := int64(s), ""
	if rest < 0 {
		rest, out = -rest, "-"
	}
	if rest == 0 {
		return "0s"
	}
	for _, u := range units {
		size := int64(u.size / time.Second)
		if n := rest / size; n > 0 {
			out += strconv.FormatInt(n, 10) + u.name
			rest %= size
		}
	}
	return out
}

// longest is the longest duration that anybody may type: ten years.
const longest = 3660 * 24 * time.Hour

// ParseDuration reads a duration as people write it, as in 90s, 15m, 1h30m or 2d: whole seconds,
// more than none. The error is Invalid.
func ParseDuration(s string) (brevet.Seconds, error) {
	text := s
	var days int64
	if n, rest, ok := strings.Cut(text, "d"); ok {
		var err error
		if days, err = strconv.ParseInt(n, 10, 32); err != nil || days < 0 {
			return 0, badDuration(s)
		}
		text = rest
	}
	var d time.Duration
	if text != "" {
		var err error
		if d, err = time.ParseDuration(text); err != nil || d < 0 {
			return 0, badDuration(s)
		}
	}
	if days > int64(longest/(24*time.Hour)) || d > longest {
		return 0, badDuration(s)
	}
	d += time.Duration(days) * 24 * time.Hour
	if d <= 0 || d > longest || d%time.Second != 0 {
		return 0, badDuration(s)
	}
	return brevet.Seconds(d / time.Second), nil
}

func badDuration(s string) error {
	if len(s) > 32 {
		s = s[:32]
	}
	return brevet.Errorf(brevet.Invalid, "%s is not a duration", brevet.Quote(s)).WithHint("write a number and a unit, like 1h or 45m")
}
