package flow_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/flow"
)

// leaves takes the person out of the group, by a new catalog.
func (w *world) leaves(person brevet.PersonID, group brevet.GroupName) {
	w.t.Helper()
	must(w.t, w.apply(func(c *brevet.Catalog) {
		i := slices.IndexFunc(c.Groups, func(g brevet.Group) bool { return g.Name == group })
		c.Groups[i].Members = slices.DeleteFunc(slices.Clone(c.Groups[i].Members), func(p brevet.PersonID) bool { return p == person })
	}))
}

// TestWhoMayNotReadAnyMoreSeesNoMore: a stream that was begun with the right ends with it.
func TestWhoMayNotReadAnyMoreSeesNoMore(t *testing.T) {
	w := onSQLite(t)
	frank, none := w.as("frank"), func(c *brevet.Catalog) {}
	waiting := w.ask("bob", "web-root")
	r := w.granted()
	session := newSession(w, r)
	session.Login = "deploy"
	must(t, w.spine.BeginSession(t.Context(), gateway, session))
	link := w.spine.Hub.Join("gw-1", "gw:22")
	defer link.Leave()
	watcher, err := w.spine.WatchSession(t.Context(), frank, string(session.ID))
	must(t, err)
	defer watcher.Close()

	tailed, watched := make(chan error, 1), make(chan error, 1)
	begun := make(chan struct{})
	var seen []string
	go func() {
		tailed <- w.spine.TailEvents(t.Context(), frank, 0, func(events []flow.EventView) error {
			if seen == nil {
				close(begun)
			}
			for _, e := range events {
				seen = append(seen, e.Message)
			}
			return nil
		})
	}()
	<-begun
	looked := make(chan struct{}, 64)
	go func() {
		watched <- w.spine.WatchRequest(t.Context(), frank, string(waiting.ID), func(flow.RequestView, flow.GrantView) error {
			looked <- struct{}{}
			return nil
		})
	}()
	<-looked

	must(t, w.apply(none)) // a change that takes nothing away ends nothing
	w.leaves("frank", "auditors")
	_, err = w.approve("carol", waiting, 0)
	must(t, err)
	refused(t, <-tailed, brevet.Refused, "you may not")
	refused(t, <-watched, brevet.NotFound, "there is no request")
	if slices.ContainsFunc(seen, func(s string) bool { return strings.HasPrefix(s, "carol agreed to "+string(waiting.ID)) }) {
		t.Error("frank read on")
	}
	for range watcher.Frames() {
		t.Error("a frame that nobody sent")
	}
	if watcher.Reason() == "" {
		t.Error("frank is not told why he may not watch any more")
	}
}

// TestARefusalNamesTheLogins: whoever asks for a login that nobody gives learns which there are for them.
func TestARefusalNamesTheLogins(t *testing.T) {
	w := onSQLite(t)
	answer, err := w.spine.Lookup(t.Context(), gateway, w.bobsWant("postgres"))
	must(t, err)
	if want := "bob may not have postgres on web1, only deploy or root"; answer.Refusal != want {
		t.Errorf("refused with %q, want %q", answer.Refusal, want)
	}
}

// TestWhoHasNoKeyForItIsNotAsked: of a role that asks for a touch nobody is named who has keys in files only.
func TestWhoHasNoKeyForItIsNotAsked(t *testing.T) {
	could := func(w *world) int { return len(w.ask("bob", "web-root").Stages[0].MayApprove) }
	if could(onSQLite(t)) == 0 {
		t.Error("nobody could agree where no touch is asked for")
	}
	w := newWorld(t, filepath.Join(t.TempDir(), "brevet.db"), func(c *brevet.Catalog) {
		for i := range c.Roles {
			c.Roles[i].Asks.ApproverPresence = brevet.TouchPresence
		}
	})
	if n := could(w); n != 0 {
		t.Errorf("%d people could agree, by keys in files", n)
	}
}
