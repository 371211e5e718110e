package catalog

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/brevet-pim/brevet"
)

// roundTrip writes the catalog as files, reads them back and wants the same manifest.
func roundTrip(t *testing.T, c brevet.Catalog) {
	t.Helper()
	want, _, err := Manifest(c)
	if err != nil {
		t.Fatal(err)
	}
	written, err := Format(c)
	if err != nil {
		t.Fatal(err)
	}
	again, problems := readFiles(written)
	if err := problems.Err(); err != nil {
		t.Fatalf("what was written is not good: %.2000s", err)
	}
	got, _, err := Manifest(again.catalog)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("written and read back, it is another one (-want +got):\n%s", cmp.Diff(c, again.catalog))
	}
}

func TestFormatIsReadBack(t *testing.T) {
	tests := map[string]func(*brevet.Catalog){
		"as it is":         func(*brevet.Catalog) {},
		"no idle limit":    func(c *brevet.Catalog) { c.Roles[0].Limits.Idle = 0 },
		"odd durations":    func(c *brevet.Catalog) { c.Roles[0].Limits = brevet.Limits{Duration: 3661, Idle: 61, Wait: 604800} },
		"asks for nothing": func(c *brevet.Catalog) { c.Roles[0].Asks = brevet.Asks{ApproverPresence: brevet.NoPresence} },
		"no approval":      func(c *brevet.Catalog) { c.Roles[0].Approval = nil },
		"not recorded":     func(c *brevet.Catalog) { c.Roles[0].Recording = brevet.RecordingOff },
		"targets by name": func(c *brevet.Catalog) {
			c.Roles[0].Targets = brevet.Selector{Kind: brevet.SSHHost, Names: []brevet.TargetID{"web1"}}
		},
		"no description":   func(c *brevet.Catalog) { c.Roles[0].Description = "" },
		"an address":       func(c *brevet.Catalog) { c.Targets[0].Address = "[2001:db8::1]:22" },
		"an authority":     func(c *brevet.Catalog) { c.Targets[0].HostKeys, c.Targets[0].HostCAs = nil, []string{hostKey} },
		"an empty group":   func(c *brevet.Catalog) { c.Groups[0].Members = nil },
		"an empty catalog": func(c *brevet.Catalog) { *c = brevet.Catalog{} },
		"names like values": func(c *brevet.Catalog) {
			c.Groups[0] = brevet.Group{Name: "123", Members: []brevet.PersonID{"0x10", "1e3", "no", "null", "true", "y"}}
		},
	}
	for _, text := range []string{
		"true", "null", "~", "123", "1.5", "1e3", "0o17", ".inf", "yes", "#", "a # b", "a: b", "- a", "{a}", "[a]", "&a", "*a", "!a", "|", ">", "%a", "@a", "`a`",
		`"`, `'`, `\`, `a\nb`, `it's`, `"quoted"`, "ünïcödé", "日本語", "a:", ":a", "=", "<<", "2026-01-01", "12:30", "...", "---", "?", "? a", "🙂",
	} {
		tests["text "+text] = func(c *brevet.Catalog) {
			c.Roles[0].Description = text
			c.Targets[0].Labels = map[string]string{"app": "web", "x": text, "null": "true", "1": "2", "y": "no"}
		}
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			c := goodCatalog()
			change(&c)
			roundTrip(t, Normalise(c))
		})
	}
}

func TestFormatThroughAFolder(t *testing.T) {
	written, err := Format(goodCatalog())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := Write(dir, written); err != nil {
		t.Fatal(err)
	}
	got, problems := Read(os.DirFS(dir))
	if len(problems) > 0 {
		t.Error(problems)
	}
	if diff := cmp.Diff(goodCatalog(), got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestFormatRefusesWhatIsNotGood(t *testing.T) {
	c := goodCatalog()
	c.Roles[0].Zone = "x"
	if _, err := Format(c); brevet.KindOf(err) != brevet.Invalid {
		t.Errorf("got %v, want Invalid", err)
	}
}

func TestNormaliseLeavesItsArgumentAlone(t *testing.T) {
	c := goodCatalog()
	c.Groups[0].Members = []brevet.PersonID{"zoe", "alice"}
	c.Roles[0].SSH.Logins = []string{"root", "deploy"}
	n := Normalise(c)
	if c.Groups[0].Members[0] != "zoe" || c.Roles[0].SSH.Logins[0] != "root" {
		t.Error("the argument changed")
	}
	if n.Groups[0].Members[0] != "alice" || n.Roles[0].SSH.Logins[0] != "deploy" {
		t.Errorf("not sorted: %+v", n)
	}
}

// TestParseTakesOnlyWhatManifestWrites edits the bytes of a good manifest, as whoever holds the
// database could, whether or not the digest gives them away.
func TestParseTakesOnlyWhatManifestWrites(t *testing.T) {
	good, digest, err := Manifest(goodCatalog())
	if err != nil {
		t.Fatal(err)
	}
	if digest != Digest(good) || len(digest) != 64 {
		t.Errorf("digest %s", digest)
	}
	tests := []struct{ name, from, to string }{
		{"a space", `{"groups"`, `{ "groups"`},
		{"a trailing byte", `"Europe/Berlin"}]`, `"Europe/Berlin"}] `},
		{"an unknown field", `"recording":`, `"colour":"red","recording":`},
		{"a missing field", `"recording":"required",`, ``},
		{"a field twice", `"recording":"required",`, `"recording":"off","recording":"required",`},
		{"another order", `{"members":["alice","bob"],"name":"sre"}`, `{"name":"sre","members":["alice","bob"]}`},
		{"null for a list", `"host_cas":[]`, `"host_cas":null`},
		{"another spelling of a number", `"duration":3600`, `"duration":3.6e3`},
		{"another spelling of text", `"alice"`, `"\u0061lice"`},
		{"another case of a field", `"recording":`, `"Recording":`},
		{"members out of order", `["alice","bob"]`, `["bob","alice"]`},
		{"a member twice", `["alice","bob"]`, `["alice","bob","bob"]`},
		{"groups out of order", `"name":"sre"}`, `"name":"zzz"}`},
		{"a role twice", `"name":"sre-leads"}`, `"name":"sre"}`},
		{"a duration of zero", `"duration":3600`, `"duration":0`},
		{"a negative duration", `"duration":3600`, `"duration":-3600`},
		{"an enormous duration", `"duration":3600`, `"duration":9007199254740991`},
		{"a stage of nobody", `"count":1`, `"count":0`},
		{"a stage of a group that is not", `"group":"sre-leads"`, `"group":"nobody"`},
		{"a login that is every login", `"root"`, `"*"`},
		{"a login of two", `"root"`, `"root,deploy"`},
		{"a bidirectional mark", `root on the web`, "root \u202eon the web"},
		{"a policy that is none", `permit (`, `permit permit (`},
		{"a permit on claimed values", `action == Action::\"request\", resource == Role::\"web-root\");`, `action == Action::\"request\", resource == Role::\"web-root\") when { context.claimed.risk > 0 };`},
		{"a policy elsewhere", `"sre.cedar"`, `"../sre.cedar"`},
		{"a target that nothing proves", hostKey, ``},
		{"a host certificate for a key", `ssh-ed25519 AAAA`, `ssh-ed25519-cert-v01@openssh.com AAAA`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			edited := strings.Replace(string(good), tt.from, tt.to, 1)
			if edited == string(good) {
				t.Fatalf("the manifest has no %s:\n%s", tt.from, good)
			}
			if _, err := Parse([]byte(edited)); brevet.KindOf(err) != brevet.Invalid {
				t.Errorf("got %v, want Invalid", err)
			}
		})
	}
	for _, whole := range []string{"", "null", "{}", "[]", `{"groups":[],"policies":[],"roles":[]}`} {
		if _, err := Parse([]byte(whole)); brevet.KindOf(err) != brevet.Invalid {
			t.Errorf("%q: got %v, want Invalid", whole, err)
		}
	}
}

// TestRoleDigest: a role that changed in any field is another role, which voids approvals.
func TestRoleDigest(t *testing.T) {
	digests := map[string]string{}
	for name, change := range map[string]func(*brevet.Role){
		"as it is":    func(*brevet.Role) {},
		"description": func(r *brevet.Role) { r.Description = "x" },
		"login":       func(r *brevet.Role) { r.SSH.Logins = []string{"root"} },
		"label":       func(r *brevet.Role) { r.Targets.Labels = map[string]string{"app": "db"} },
		"duration":    func(r *brevet.Role) { r.Limits.Duration++ },
		"stage":       func(r *brevet.Role) { r.Approval = nil },
		"presence":    func(r *brevet.Role) { r.Asks.ApproverPresence = brevet.TouchPresence },
		"recording":   func(r *brevet.Role) { r.Recording = brevet.RecordingOff },
	} {
		r := goodCatalog().Roles[0]
		change(&r)
		d, err := RoleDigest(r)
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := digests[d]; ok {
			t.Errorf("%s and %s have one digest", name, other)
		}
		digests[d] = name
	}
}

func TestParseDuration(t *testing.T) {
	good := map[string]brevet.Seconds{"0s": 0, "1s": 1, "90s": 90, "1h": 3600, "1h30m": 5400, "1d": 86400, "7d12h1m1s": 648061, "0045m": 2700, "999999999d": 86399999913600}
	for s, want := range good {
		if got, err := ParseDuration(s); err != nil || got != want {
			t.Errorf("%s: got %d, %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "1", "h", "1 h", " 1h", "1h ", "-1h", "+1h", "1.5h", "1m1h", "1h1h", "1w", "1H", "1000000000s", "１h", "1h\n", "1e3s", "inf", "1h-5m"} {
		if got, err := ParseDuration(s); brevet.KindOf(err) != brevet.Invalid || err == nil {
			t.Errorf("%q: got %d, %v, want Invalid", s, got, err)
		}
	}
}
