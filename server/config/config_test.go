package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/server/config"
)

const digest = "5b9ce1f07d22a4c85b9ce1f07d22a4c85b9ce1f07d22a4c85b9ce1f07d22a4c8"

const organisation = "organisation: {root: " + digest + ", log: example/1}\n"

func TestDefaults(t *testing.T) {
	got, err := config.Parse([]byte(organisation))
	if err != nil {
		t.Fatal(err)
	}
	want := config.Config{
		Organisation: config.Organisation{Root: digest, Log: "example/1"},
		Listen:       "127.0.0.1:7443",
		Address:      "127.0.0.1:7443",
		SealKey:      "seal.key",
		Gateway:      config.Gateway{Name: "gw-1", Listen: "127.0.0.1:7022", Address: "127.0.0.1:7022"},
		Log:          config.Log{Level: "info", Format: "text"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestMistakesAreNamed(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string // all of these stand in the message
	}{
		{name: "nothing", text: "", want: []string{"organisation.root", "organisation.log"}},
		{name: "unknown field", text: organisation + "listne: 127.0.0.1:1\n", want: []string{"[2:1]", "listne"}},
		{name: "unknown field within", text: organisation + "gateway:\n  lisen: 127.0.0.1:1\n", want: []string{"[3:3]", "lisen"}},
		{name: "twice", text: organisation + "listen: a:1\nlisten: b:1\n", want: []string{"[3:1]"}},
		{name: "not YAML", text: organisation + "listen: [\n", want: []string{"[2:"}},
		{name: "wrong kind", text: organisation + "gateway: yes please\n", want: []string{"[2:"}},
		{name: "several at once", text: organisation + "listen: nowhere\nlog: {level: loud, format: xml}\n", want: []string{"listen", "log.level", "log.format"}},
		{name: "an address that nobody can dial", text: organisation + "listen: 0.0.0.0:7443\n", want: []string{"address: write host:port that others"}},
		{name: "a port of 0 for others", text: organisation + "listen: 127.0.0.1:0\n", want: []string{"address"}},
		{name: "a port that is none", text: organisation + "listen: 127.0.0.1:70000\n", want: []string{"listen"}},
		{name: "half a certificate", text: organisation + "tls: {key: k.pem}\n", want: []string{"tls"}},
		{name: "a URL instead of a reference", text: organisation + "database: postgres://brevet:secret@db/brevet\n", want: []string{"file:PATH"}},
		{name: "a short root", text: "organisation: {root: 5b9c, log: x}\n", want: []string{"organisation.root"}},
		{name: "a gateway with a name that is none", text: organisation + "gateway: {name: GW/1}\n", want: []string{"gateway.name"}},
		{name: "long", text: strings.Repeat("# long\n", 200_000), want: []string{"longer than"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := config.Parse([]byte(tt.text))
			if brevet.KindOf(err) != brevet.Invalid {
				t.Fatalf("got %v, want an invalid configuration", err)
			}
			message, _ := brevet.MessageOf(err)
			for _, want := range tt.want {
				if !strings.Contains(message, want) {
					t.Errorf("%q does not say %q", message, want)
				}
			}
			if strings.Contains(message, "secret") {
				t.Errorf("%q shows a password", message)
			}
		})
	}
}

func TestTextReadsBack(t *testing.T) {
	c := config.Config{
		Organisation: config.Organisation{Root: digest, Log: "example/1"},
		Listen:       "0.0.0.0:7443",
		Address:      "brevet.example.org:7443",
		Database:     "env:DATABASE_URL",
		Gateway:      config.Gateway{Off: true, Name: "gw-2"},
	}
	text, err := c.Text()
	if err != nil {
		t.Fatal(err)
	}
	got, err := config.Parse(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if got.Address != c.Address || got.Database != c.Database || !got.Gateway.Off || got.Gateway.Name != "gw-2" {
		t.Errorf("got %+v of\n%s", got, text)
	}
}

func TestReadNamesTheFile(t *testing.T) {
	dir := t.TempDir()
	_, err := config.Read(dir)
	if message, hint := brevet.MessageOf(err); brevet.KindOf(err) != brevet.NotFound || !strings.Contains(hint, "brevet init") {
		t.Errorf("got %q, %q; want that there is none, and brevet init", message, hint)
	}
	path := filepath.Join(dir, config.Name)
	if err := os.WriteFile(path, []byte("nonsense: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = config.Read(dir)
	if message, _ := brevet.MessageOf(err); !strings.HasPrefix(message, path+": [1:1]") {
		t.Errorf("%q does not begin with the file and the line", message)
	}
}

func TestDatabaseURL(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "url"), []byte("postgres://b:secret@db/brevet\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("BREVET_TEST_URL", "mysql://b:secret@db/brevet")
	tests := []struct {
		name, database, want string
		kind                 brevet.Kind
	}{
		{name: "SQLite", database: "", want: ""},
		{name: "a file, relative to the folder", database: "file:url", want: "postgres://b:secret@db/brevet"},
		{name: "another kind of URL", database: "env:BREVET_TEST_URL", kind: brevet.Invalid},
		{name: "a variable that is not set", database: "env:BREVET_TEST_NOTHING", kind: brevet.Invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := config.Config{Database: tt.database}.DatabaseURL(dir)
			if got != tt.want || brevet.KindOf(err) != tt.kind {
				t.Errorf("got %q, %v", got, err)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("%v shows a password", err)
			}
		})
	}
}

func TestNode(t *testing.T) {
	n := config.Node{Name: "gw-2", Server: "brevet.example.org:7443", Root: digest, Pin: digest}
	text, err := n.Text()
	if err != nil {
		t.Fatal(err)
	}
	got, err := config.ParseNode(text)
	if err != nil {
		t.Fatal(err)
	}
	n.Listen, n.Address, n.SealKey, n.Log = "127.0.0.1:7022", "127.0.0.1:7022", "seal.key", config.Log{Level: "info", Format: "text"}
	if diff := cmp.Diff(n, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	_, err = config.ParseNode([]byte("name: GW\nserver: here\n"))
	message, _ := brevet.MessageOf(err)
	for _, want := range []string{"name", "server", "root", "pin"} {
		if !strings.Contains(message, want) {
			t.Errorf("%q does not say %q", message, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(organisation))
	f.Add([]byte("organisation: &a {root: *a}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := config.Parse(text)
		if err != nil {
			return
		}
		again, err := c.Text()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := config.Parse(again); err != nil || got != c {
			t.Errorf("%v: %+v became %+v", err, c, got)
		}
	})
}
