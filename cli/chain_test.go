package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/brevet-pim/brevet/statement"
)

// lastLine is the file that a command wrote.
func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}

// TestTwoMustSign: with a threshold of two a statement goes from hand to hand, and is sent once, whole.
func TestTwoMustSign(t *testing.T) {
	w := newWorld(t, "dan")
	t.Chdir(t.TempDir())
	dir := folder(t, newRole)
	first := run(t, "y\n", "apply", "-f", dir, "-m", "OPS-1")
	first.want(t, 0, "1 of 2 have signed", "--statement catalog-")
	file := lastLine(first.out)
	if len(w.applied) > 0 {
		t.Fatal("half a signature was sent")
	}
	run(t, "y\n", "apply", "-f", dir, "--statement", file).want(t, statusConflict) // alice again

	w.become("dan")
	run(t, "y\n", "apply", "-f", folder(t, strings.ReplaceAll(newRole, "1h", "2h")), "--statement", file).want(t, statusRefused, "for other files than those in")
	run(t, "n\n", "apply", "-f", dir, "--statement", file).want(t, 0, "+ role web-root", "Its message: OPS-1", "Nothing was signed.")
	run(t, "y\n", "apply", "-f", dir, "--statement", file).want(t, 0, "catalog 2 is in force")
	e := must(statement.Parse(w.applied[0].GetStatement()))(t)
	if len(e.Signatures) != 2 {
		t.Errorf("%d signatures were sent", len(e.Signatures))
	}
}

// TestSignaturesAreKept: two who sign copies of a statement do not undo each other's signature.
func TestSignaturesAreKept(t *testing.T) {
	w := newWorld(t, "dan", "erin")
	t.Chdir(t.TempDir())
	dir := folder(t, newRole)
	first := run(t, "", "apply", "-f", dir, "--yes")
	first.want(t, 0, "1 of 3 have signed")
	file := lastLine(first.out)
	if err := os.WriteFile("copy.json", must(os.ReadFile(file))(t), 0o600); err != nil {
		t.Fatal(err)
	}
	w.become("dan")
	run(t, "", "apply", "-f", dir, "--yes", "--statement", file).want(t, 0, "2 of 3 have signed")
	w.become("erin")
	run(t, "", "apply", "-f", dir, "--yes", "--statement", "copy.json").want(t, statusConflict, "has signatures that would be lost", "--statement "+file)
	run(t, "", "apply", "-f", dir, "--yes", "--statement", file).want(t, 0, "catalog 2 is in force")
}

// TestWhoMayNotSign: a signature that would not count is not asked for.
func TestWhoMayNotSign(t *testing.T) {
	w := newWorld(t)
	t.Chdir(t.TempDir())
	dir := folder(t, newRole)
	w.become("bob")
	run(t, "y\n", "apply", "-f", dir).want(t, statusRefused, "of bob is not enrolled to")
	if files := must(os.ReadDir("."))(t); len(files) > 0 || len(w.applied) > 0 {
		t.Errorf("something was made of it: %v", files)
	}
}

// TestPipelineCarries: what people signed is handed in by somebody who adds no signature.
func TestPipelineCarries(t *testing.T) {
	w := newWorld(t)
	t.Chdir(t.TempDir())
	dir := folder(t, newRole)
	signed := run(t, "", "apply", "-f", dir, "--sign-only", "--yes")
	signed.want(t, 0, "It has all its signatures")
	if len(w.applied) > 0 {
		t.Fatal("it was sent")
	}
	carried := run(t, "", "apply", "-f", dir, "--statement", lastLine(signed.out))
	carried.want(t, 0, "catalog 2 is in force")
	if strings.Contains(carried.err, "You will sign") {
		t.Error("it was signed once more")
	}
}

// TestRosterStatementOfSomebody: a roster statement in a file is shown before it is signed, and nothing else is
// taken for one.
func TestRosterStatementOfSomebody(t *testing.T) {
	w := newWorld(t, "dan")
	t.Chdir(t.TempDir())
	fingerprint := must(statement.Fingerprint(w.bob.Key()))(t)
	first := run(t, "y\n", "keys", "retire", fingerprint, "--reason", "lost \x1b[2J")
	first.want(t, statusUsage) // no such character is signed
	first = run(t, "y\n", "keys", "retire", fingerprint, "--reason", "lost")
	first.want(t, 0, "retire "+fingerprint+" of bob", "1 of 2 have signed")
	w.become("dan")
	run(t, "y\n", "people", "sign", "--statement", lastLine(first.out)).want(t, 0, "retire "+fingerprint+" of bob", ": lost", "the roster stands at 4")
	if len(w.appended) != 1 {
		t.Errorf("%d statements were sent", len(w.appended))
	}
	catalog := filepath.Join(t.TempDir(), "catalog.json")
	if err := os.WriteFile(catalog, w.catalog.GetStatement(), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "y\n", "people", "sign", "--statement", catalog).want(t, statusUsage, "a catalog statement is not signed here")
	w.addMachine("gw-9", statement.MachineGateway, statement.KeyTLS, must(statement.MachineKeyOf(w.authority.PublicKey))(t))
	run(t, "y\n", "people", "sign", "--statement", lastLine(first.out)).want(t, statusConflict, "the roster has moved on")
}
