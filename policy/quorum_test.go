package policy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/brevet-pim/brevet"
)

// TestStagesThatCannotBeAnswered gives groups and stages to a role: each stage must be answered by
// people of its own, none of them the requester, bob.
func TestStagesThatCannotBeAnswered(t *testing.T) {
	type groups map[brevet.GroupName][]brevet.PersonID
	tests := []struct {
		name   string
		groups groups
		stages []brevet.Stage
		want   string // "" if they can
	}{
		{"one of one", groups{"a": {"dan"}}, []brevet.Stage{{Group: "a", Count: 1}}, ""},
		{"the requester alone", groups{"a": {"bob"}}, []brevet.Stage{{Group: "a", Count: 1}}, "group a has too few other people"},
		{"the requester does not count", groups{"a": {"bob", "dan"}}, []brevet.Stage{{Group: "a", Count: 2}}, "too few"},
		{"an empty group", groups{"a": {}}, []brevet.Stage{{Group: "a", Count: 1}}, "too few"},
		{"a group that was deleted", groups{}, []brevet.Stage{{Group: "a", Count: 1}}, `there is no group "a"`},
		{"no stages", groups{"a": {"dan"}}, nil, "no approval stages"},
		{"a stage that asks nobody", groups{"a": {"dan"}}, []brevet.Stage{{Group: "a", Count: 0}}, "stage 1 asks for nobody"},
		{"a negative count", groups{"a": {"dan"}}, []brevet.Stage{{Group: "a", Count: -1}}, "stage 1 asks for nobody"},
		{"an enormous count", groups{"a": {"dan"}}, []brevet.Stage{{Group: "a", Count: 1 << 40}}, "too few"},
		{"a workload does not count", groups{"a": {"ci"}}, []brevet.Stage{{Group: "a", Count: 1}}, "too few"},
		{"somebody who left does not count", groups{"a": {"mallory"}}, []brevet.Stage{{Group: "a", Count: 1}}, "too few"},
		{"the same person twice in a group", groups{"a": {"dan", "dan"}}, []brevet.Stage{{Group: "a", Count: 2}}, "too few"},
		{"one person for two stages", groups{"a": {"dan"}, "b": {"dan"}}, []brevet.Stage{{Group: "a", Count: 1}, {Group: "b", Count: 1}}, "group b has too few"},
		{"the same group twice", groups{"a": {"dan"}}, []brevet.Stage{{Group: "a", Count: 1}, {Group: "a", Count: 1}}, "too few"},
		{"seated cleverly", groups{"a": {"alice", "dan"}, "b": {"alice"}}, []brevet.Stage{{Group: "a", Count: 1}, {Group: "b", Count: 1}}, ""},
		{"seated cleverly, a long chain", groups{"a": {"alice", "dan"}, "b": {"alice", "erin"}, "c": {"alice"}},
			[]brevet.Stage{{Group: "a", Count: 1}, {Group: "b", Count: 1}, {Group: "c", Count: 1}}, ""},
		{"three for two", groups{"a": {"alice", "dan"}, "b": {"dan", "alice"}}, []brevet.Stage{{Group: "a", Count: 2}, {Group: "b", Count: 1}}, "too few"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := shop(`permit (principal == Person::"bob", action == Action::"request", resource);`)
			c.Groups = nil
			for name, members := range tt.groups {
				c.Groups = append(c.Groups, brevet.Group{Name: name, Members: members})
			}
			c.Roles[0].Approval = tt.stages
			d := compile(t, c).Decide(asks(nil))
			if tt.want == "" {
				if d.Outcome != brevet.Ask || len(d.Stages) != len(tt.stages) {
					t.Errorf("got %+v", d)
				}
				return
			}
			if d.Outcome != brevet.Refuse || !strings.Contains(strings.Join(d.Reasons, "\n"), tt.want) {
				t.Errorf("got %+v, want refused with %q", d, tt.want)
			}
		})
	}
}

// TestSeatingIsBounded shows that large groups of the same people cost no more than their seats.
func TestSeatingIsBounded(t *testing.T) {
	c := shop(`permit (principal, action == Action::"request", resource);`)
	var everybody []brevet.PersonID
	for i := range 20_000 {
		everybody = append(everybody, brevet.PersonID(fmt.Sprintf("p%05d", i)))
	}
	c.Groups, c.Roles[0].Approval = nil, nil
	for i := range 10 {
		name := brevet.GroupName(fmt.Sprintf("g%d", i))
		c.Groups = append(c.Groups, brevet.Group{Name: name, Members: everybody})
		c.Roles[0].Approval = append(c.Roles[0].Approval, brevet.Stage{Group: name, Count: 10})
	}
	looked := 0
	s := compile(t, c).WithPeople(func(brevet.PersonID) (brevet.IdentityKind, bool) { looked++; return brevet.Person, true })
	if d := s.Decide(asks(nil)); d.Outcome != brevet.Ask {
		t.Errorf("got %+v", d)
	}
	if looked > 20_000 {
		t.Errorf("looked at people %d times to fill 100 seats", looked)
	}
}
