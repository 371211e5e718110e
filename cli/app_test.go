package cli

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/creack/pty"

	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/cli/show"
)

// onTerminal returns what doctor, which marks its lines, shows on a terminal.
func onTerminal(t *testing.T) string {
	t.Helper()
	terminal, screen, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	root := New("v0.0.0-test")
	root.SetArgs([]string{"doctor"})
	root.SetOut(screen)
	root.SetErr(io.Discard)
	shown := make(chan string)
	go func() {
		var b bytes.Buffer
		io.Copy(&b, terminal) // ends with an error when the other side closes
		shown <- b.String()
	}()
	root.ExecuteContext(t.Context())
	screen.Close()
	text := <-shown
	terminal.Close()
	return text
}

// TestColour: marks are coloured on a terminal, unless somebody forbids it, and nothing else ever is.
func TestColour(t *testing.T) {
	t.Setenv("BREVET_HOME", t.TempDir())
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	if got := onTerminal(t); !strings.HasPrefix(got, "\x1b[31m✗\x1b[0m profile: nobody is signed in here") {
		t.Errorf("on a terminal: %q", got)
	}
	t.Setenv("NO_COLOR", "1")
	if got := onTerminal(t); !strings.HasPrefix(got, "✗ profile") {
		t.Errorf("with NO_COLOR: %q", got)
	}
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "dumb")
	if got := onTerminal(t); !strings.HasPrefix(got, "✗ profile") {
		t.Errorf("on a dumb terminal: %q", got)
	}
	t.Setenv("TERM", "xterm")
	if got := run(t, "", "doctor"); strings.ContainsRune(got.out, 0x1b) {
		t.Errorf("in a pipe: %q", got.out)
	}
}

// TestWriteOut: what is exported is there whole or not at all.
func TestWriteOut(t *testing.T) {
	a := &app{err: io.Discard, getenv: os.Getenv}
	file := t.TempDir() + "/x"
	if err := a.writeOut(file, func(w io.Writer) error { io.WriteString(w, "half"); return io.ErrUnexpectedEOF }); err == nil {
		t.Error("no error")
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("half a file was left")
	}
	if err := a.writeOut(file, func(w io.Writer) error { _, err := io.WriteString(w, "whole"); return err }); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// TestStreams: each message of a stream is a line of JSON or a document of YAML.
func TestStreams(t *testing.T) {
	for format, want := range map[show.Format]string{
		show.AsJSON: `{"index":"1","kind":"request"}` + "\n" + `{"index":"2","kind":"approval"}` + "\n",
		show.AsYAML: "---\nindex: \"1\"\nkind: request\n---\nindex: \"2\"\nkind: approval\n",
	} {
		var b bytes.Buffer
		a := &app{out: &b, format: format}
		for _, e := range []*brevetv1.Event{{Index: 1, Kind: "request"}, {Index: 2, Kind: "approval"}} {
			if err := a.sayEvent(e); err != nil {
				t.Fatal(err)
			}
		}
		if b.String() != want {
			t.Errorf("%s: got %s", format, b.String())
		}
	}
}
