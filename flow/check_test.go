package flow_test

import (
	"os"
	"strings"
	"testing"

	"github.com/brevet-pim/brevet/flow"
)

// TestCheckTellsWhyNothingCanBeWritten: everybody who asks learns why nothing can be changed, and what to do.
func TestCheckTellsWhyNothingCanBeWritten(t *testing.T) {
	w := onSQLite(t)
	database := func() (found []flow.Finding) {
		t.Helper()
		all, err := w.spine.Check(t.Context(), w.as("bob"))
		must(t, err)
		for _, f := range all {
			if f.Place == "database" {
				found = append(found, f)
			}
		}
		return found
	}
	if found := database(); len(found) != 0 {
		t.Errorf("of a database that is well: %v", found)
	}
	must(t, os.Rename(w.database, w.database+".away"))
	found := database()
	if len(found) != 1 || found[0].Level != "error" || !strings.Contains(found[0].Message, "removed or replaced") || !strings.Contains(found[0].Message, "put it back") {
		t.Errorf("without its file: %v", found)
	}
	must(t, os.Rename(w.database+".away", w.database))
	if found := database(); len(found) != 0 {
		t.Errorf("once it is back: %v", found)
	}
}
