package policy

import (
	"testing"
	"time"

	"github.com/brevet-pim/brevet"
)

// TestTimeWindows holds windows against the clock of the role's zone, on hosts of any zone, at
// the seconds where they open and shut and on the nights when summer time comes and goes.
func TestTimeWindows(t *testing.T) {
	const (
		night = `context.hour >= 22 || context.hour < 2`
		work  = `["mon", "tue", "wed", "thu", "fri"].contains(context.weekday) && context.hour >= 9 && context.hour < 17`
		half  = `context.hour == 2 && context.minute >= 30`
	)
	tests := []struct {
		name, zone, when, at string
		open                 bool
	}{
		{"before the night", "Europe/Berlin", night, "2026-06-01T19:59:59Z", false},
		{"the night begins", "Europe/Berlin", night, "2026-06-01T20:00:00Z", true},
		{"the night ends", "Europe/Berlin", night, "2026-06-01T23:59:59Z", true},
		{"after the night", "Europe/Berlin", night, "2026-06-02T00:00:00Z", false},
		{"in winter it begins an hour later", "Europe/Berlin", night, "2026-12-01T20:59:59Z", false},
		{"in winter", "Europe/Berlin", night, "2026-12-01T21:00:00Z", true},

		// 29 March 2026: 01:59:59 CET is followed by 03:00:00 CEST, at 01:00 UTC.
		{"spring: still before two", "Europe/Berlin", night, "2026-03-29T00:59:59Z", true},
		{"spring: two never was", "Europe/Berlin", night, "2026-03-29T01:00:00Z", false},
		{"spring: half past two never was", "Europe/Berlin", half, "2026-03-29T01:30:00Z", false},
		// 25 October 2026: 02:59:59 CEST is followed by 02:00:00 CET, at 01:00 UTC.
		{"autumn: half past two the first time", "Europe/Berlin", half, "2026-10-25T00:30:00Z", true},
		{"autumn: two again", "Europe/Berlin", half, "2026-10-25T01:00:00Z", false},
		{"autumn: half past two again", "Europe/Berlin", half, "2026-10-25T01:30:00Z", true},
		{"autumn: three", "Europe/Berlin", half, "2026-10-25T02:00:00Z", false},
		{"autumn: the night does not open again", "Europe/Berlin", night, "2026-10-25T01:00:00Z", false},

		{"Monday in Berlin", "Europe/Berlin", work, "2026-06-01T07:00:00Z", true},
		{"Monday before nine in Berlin", "Europe/Berlin", work, "2026-06-01T06:59:59Z", false},
		{"Monday in Auckland is Sunday in UTC", "Pacific/Auckland", work, "2026-05-31T21:00:00Z", true},
		{"Friday in Auckland is over", "Pacific/Auckland", work, "2026-06-05T05:00:00Z", false},
		{"half an hour off: Kolkata", "Asia/Kolkata", work, "2026-06-01T03:30:00Z", true},
		{"half an hour off: Kolkata before", "Asia/Kolkata", work, "2026-06-01T03:29:59Z", false},
		{"the day that Samoa skipped", "Pacific/Apia", `context.weekday == "fri"`, "2011-12-30T12:00:00Z", false},
		{"UTC", "UTC", work, "2026-06-01T09:00:00Z", true},
		{"1970", "UTC", `context.weekday == "thu" && context.hour == 0`, "1970-01-01T00:00:00Z", true},
		{"a second after 32 bits of seconds are over", "UTC", `context.weekday == "tue" && context.hour == 3 && context.now > datetime("2038-01-19T03:14:07Z")`, "2038-01-19T03:14:08Z", true},
		{"an instant", "Europe/Berlin", `context.now >= datetime("2026-12-24T00:00:00+0100")`, "2026-12-23T23:00:00Z", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := shop(`permit (principal, action == Action::"activate", resource) when { ` + tt.when + ` };`)
			c.Roles[0].Zone = tt.zone
			s := compile(t, c)
			at, err := time.Parse(time.RFC3339, tt.at)
			if err != nil {
				t.Fatal(err)
			}
			for _, host := range []string{"UTC", "Europe/Berlin", "America/New_York"} {
				zone, err := time.LoadLocation(host)
				if err != nil {
					t.Fatal(err)
				}
				d := s.Decide(asks(func(a *Ask) { a.Now = at.In(zone) }))
				if open := d.Outcome == brevet.Allow; open != tt.open {
					t.Errorf("on a host in %s: got %+v, want open %t", host, d, tt.open)
				}
			}
		})
	}
}

func TestZone(t *testing.T) {
	for _, name := range []string{"", "Local", "local", "Europe/Berlim", "../etc/passwd", "UTC\x00", "CEST+2", "Europe"} {
		if zone, err := Zone(name); brevet.KindOf(err) != brevet.Invalid {
			t.Errorf("Zone(%q) = %v, %v", name, zone, err)
		}
	}
}
