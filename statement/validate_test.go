package statement_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/statement"
)

// changed returns p after change, for a table of mistakes.
func changed[T statement.Payload](p T, change func(*T)) statement.Payload {
	change(&p)
	return p
}

func TestValidate(t *testing.T) {
	for _, p := range append(samples(t), sshRequest(t)) {
		if err := p.Validate(); err != nil {
			t.Errorf("%s: %v", p.StatementKind(), err)
		}
	}
	type (
		S  = statement.Request
		R  = statement.Root
		E  = statement.Enrol
		M  = statement.Machine
		G  = statement.Grant
		V  = statement.Revocation
		A  = statement.Approval
		I  = statement.Intent
		Re = statement.Retire
	)
	later := root(t)
	later.Link = statement.Link{Number: 2, Previous: idOf("root")}
	later.Org = idOf("root")
	if err := later.Validate(); err != nil {
		t.Errorf("a later root: %v", err)
	}
	gone := gateway(t)
	gone.Keys, gone.Targets, gone.Addresses = nil, brevet.Selector{}, nil
	if err := gone.Validate(); err != nil {
		t.Errorf("a machine that is no longer ours: %v", err)
	}
	workload := func(e *E) {
		e.Enrolments[0].Kind, e.Enrolments[0].Owner = brevet.Workload, "alice"
		e.Enrolments[0].Uses = []statement.Use{statement.UseRequest}
	}
	if err := changed(enrol(t), workload).Validate(); err != nil {
		t.Errorf("a workload: %v", err)
	}
	long := strings.Repeat("x", 1001)
	tests := []struct {
		name    string
		payload statement.Payload
		field   string
	}{
		{"no org", changed(request(t), func(r *S) { r.Org = "" }), "org"},
		{"org upper case", changed(request(t), func(r *S) { r.Org = statement.ID(strings.ToUpper(string(r.Org))) }), "org"},
		{"no nonce", changed(request(t), func(r *S) { r.Nonce = "" }), "nonce"},
		{"long nonce", changed(request(t), func(r *S) { r.Nonce += "00" }), "nonce"},
		{"no time", changed(request(t), func(r *S) { r.At = 0 }), "at"},
		{"time beyond 2^53", changed(request(t), func(r *S) { r.Until = 1 << 53 }), "until"},
		{"over at once", changed(request(t), func(r *S) { r.Until = r.At }), "until"},
		{"no person", changed(request(t), func(r *S) { r.Person = "" }), "person"},
		{"person in upper case", changed(request(t), func(r *S) { r.Person = "Bob" }), "person"},
		{"person with comma", changed(request(t), func(r *S) { r.Person = "bob,root" }), "person"},
		{"person look-alike", changed(request(t), func(r *S) { r.Person = "b\u043eb" }), "person"},
		{"role with slash", changed(request(t), func(r *S) { r.Role = "a/b" }), "role"},
		{"role digest short", changed(request(t), func(r *S) { r.RoleDigest = r.RoleDigest[2:] }), "role_digest"},
		{"no target", changed(request(t), func(r *S) { r.Targets = nil }), "targets"},
		{"targets unsorted", changed(request(t), func(r *S) { r.Targets = []brevet.TargetID{"web2", "web1"} }), "targets"},
		{"targets doubled", changed(request(t), func(r *S) { r.Targets = []brevet.TargetID{"web1", "web1"} }), "targets"},
		{"target star", changed(request(t), func(r *S) { r.Targets = []brevet.TargetID{"*"} }), "targets"},
		{"too many targets", changed(request(t), func(r *S) { r.Targets = many[brevet.TargetID](101) }), "targets"},
		{"no login", changed(request(t), func(r *S) { r.Logins = nil }), "logins"},
		{"login with comma", changed(request(t), func(r *S) { r.Logins = []string{"a,root"} }), "logins"},
		{"login with slash", changed(request(t), func(r *S) { r.Logins = []string{"a/b"} }), "logins"},
		{"login begins with hyphen", changed(request(t), func(r *S) { r.Logins = []string{"-oProxyCommand"} }), "logins"},
		{"login too long", changed(request(t), func(r *S) { r.Logins = []string{strings.Repeat("a", 33)} }), "logins"},
		{"duration zero", changed(request(t), func(r *S) { r.Duration = 0 }), "duration"},
		{"duration enormous", changed(request(t), func(r *S) { r.Duration = 1 << 40 }), "duration"},
		{"no holder", changed(request(t), func(r *S) { r.Holder = statement.Holder{} }), "holder.machine"},
		{"holder key hex", changed(request(t), func(r *S) { r.Holder.Key = digestOf("x") }), "holder.key"},
		{"holder key padded", changed(request(t), func(r *S) { r.Holder.Key += "=" }), "holder.key"},
		{"reason long", changed(request(t), func(r *S) { r.Reason = long }), "reason"},
		{"ticket long", changed(request(t), func(r *S) { r.Ticket = long[:101] }), "ticket"},
		{"via web", changed(request(t), func(r *S) { r.Via = "web" }), "via"},
		{"seen without ssh", changed(request(t), func(r *S) { r.Seen.Source = "192.0.2.1" }), "seen"},
		{"ssh without seen", changed(sshRequest(t), func(r *S) { r.Seen = statement.Seen{} }), "seen.key"},
		{"seen with unknown presence", changed(sshRequest(t), func(r *S) { r.Seen.Presence = "face" }), "seen.presence"},
		{"seen from a name", changed(sshRequest(t), func(r *S) { r.Seen.Source = "host" }), "seen.source"},
		{"seen from a mapped zone", changed(sshRequest(t), func(r *S) { r.Seen.Source = "fe80::1%eth0" }), "seen.source"},

		{"root with org", changed(root(t), func(r *R) { r.Org = idOf("org") }), "org"},
		{"later root without org", changed(later, func(r *R) { r.Org = "" }), "org"},
		{"root with previous", changed(root(t), func(r *R) { r.Previous = idOf("x") }), "previous"},
		{"root number 0", changed(root(t), func(r *R) { r.Number = 0 }), "number"},
		{"later root without previous", changed(later, func(r *R) { r.Previous = "" }), "previous"},
		{"nameless organisation", changed(root(t), func(r *R) { r.Name = "" }), "name"},
		{"no founders", changed(root(t), func(r *R) { r.Founders = nil }), "founders"},
		{"threshold 0", changed(root(t), func(r *R) { r.Threshold = 0 }), "threshold"},
		{"threshold over founders", changed(root(t), func(r *R) { r.Threshold = 2 }), "threshold"},
		{"founder twice", changed(root(t), func(r *R) { r.Founders = append(r.Founders, r.Founders[0]) }), "founders[1]"},
		{"founders share a key", changed(root(t), func(r *R) {
			r.Founders = append(r.Founders, statement.Founder{Person: "bob", Keys: r.Founders[0].Keys})
		}), "founders[1].keys"},
		{"founder without key", changed(root(t), func(r *R) { r.Founders = []statement.Founder{{Person: "alice"}} }), "founders[0].keys"},
		{"founder with machine key", changed(root(t), func(r *R) {
			r.Founders = []statement.Founder{{Person: "alice", Keys: []statement.Key{machineKey(t, "alice")}}}
		}), "founders[0].keys.kind"},
		{"origin with blank", changed(root(t), func(r *R) { r.Log.Origin = "a b" }), "log.origin"},
		{"origin with plus", changed(root(t), func(r *R) { r.Log.Origin = "a+b" }), "log.origin"},
		{"epoch negative", changed(root(t), func(r *R) { r.Log.Epoch = -1 }), "log.epoch"},
		{"relying party, unenforced", changed(root(t), func(r *R) { r.RelyingParty = "example.com" }), "relying_party"},

		{"enrol as first", changed(enrol(t), func(e *E) { e.Link = statement.Link{Number: 1} }), "number"},
		{"nobody enrolled", changed(enrol(t), func(e *E) { e.Enrolments = nil }), "enrolments"},
		{"201 enrolled", changed(enrol(t), func(e *E) { e.Enrolments = make([]statement.Enrolment, 201) }), "enrolments"},
		{"key enrolled twice", changed(enrol(t), func(e *E) { e.Enrolments = append(e.Enrolments, e.Enrolments[0]) }), "enrolments[1].key"},
		{"identity of no kind", changed(enrol(t), func(e *E) { e.Enrolments[0].Kind = "" }), "enrolments[0].kind"},
		{"person with owner", changed(enrol(t), func(e *E) { e.Enrolments[0].Owner = "alice" }), "enrolments[0].owner"},
		{"workload without owner", changed(enrol(t), func(e *E) { workload(e); e.Enrolments[0].Owner = "" }), "enrolments[0].owner"},
		{"workload owns itself", changed(enrol(t), func(e *E) { workload(e); e.Enrolments[0].Owner = "bob" }), "enrolments[0].owner"},
		{"workload approves", changed(enrol(t), func(e *E) { workload(e); e.Enrolments[0].Uses[0] = statement.UseApprove }), "enrolments[0].uses"},
		{"no use", changed(enrol(t), func(e *E) { e.Enrolments[0].Uses = nil }), "enrolments[0].uses"},
		{"unknown use", changed(enrol(t), func(e *E) { e.Enrolments[0].Uses = []statement.Use{"custodian"} }), "enrolments[0].uses"},
		{"uses unsorted", changed(enrol(t), func(e *E) { e.Enrolments[0].Uses = []statement.Use{"request", "approve"} }), "enrolments[0].uses"},
		{"person with machine key", changed(enrol(t), func(e *E) { e.Enrolments[0].Key = machineKey(t, "x") }), "enrolments[0].key.kind"},
		{"key with comment", changed(enrol(t), func(e *E) { e.Enrolments[0].Key.Public += " bob@laptop" }), "enrolments[0].key"},
		{"ends before it begins", changed(enrol(t), func(e *E) { e.Enrolments[0].Until = 1 }), "enrolments[0].until"},
		{"code in clear", changed(enrol(t), func(e *E) { e.Enrolments[0].Code = "ABCD-1234" }), "enrolments[0].code"},
		{"no possession", changed(enrol(t), func(e *E) { e.Enrolments[0].Possession = "" }), "enrolments[0].possession"},
		{"possession with line break", changed(enrol(t), func(e *E) { e.Enrolments[0].Possession += "\n" }), "enrolments[0].possession"},

		{"retire no key", changed(samples(t)[2].(Re), func(r *Re) { r.Key = "all" }), "key"},
		{"retire no reason", changed(samples(t)[2].(Re), func(r *Re) { r.Reason = "" }), "reason"},
		{"reinstate what", changed(samples(t)[3].(statement.Reinstate), func(r *statement.Reinstate) { r.Revocation = "x" }), "revocation"},

		{"machine of no use", changed(gateway(t), func(m *M) { m.Use = "proxy" }), "use"},
		{"gateway with authority's key", changed(gateway(t), func(m *M) { m.Keys[1].Use = statement.KeyUserCA }), "keys[1].use"},
		{"issuer with holder's key", changed(gateway(t), func(m *M) { m.Use = statement.MachineIssuer }), "keys[1].use"},
		{"statement key for SSH", changed(gateway(t), func(m *M) { m.Keys[0].Key = sshKey(t, "x") }), "keys[0].key.kind"},
		{"one key for two uses", changed(gateway(t), func(m *M) {
			m.Keys[0].Use = statement.KeyTLS
			m.Keys = append(m.Keys, statement.MachineKey{Use: statement.KeyStatement, Key: m.Keys[0].Key})
		}), "keys[2]"},
		{"sealing key that signs", changed(gateway(t), func(m *M) {
			m.Use, m.Targets, m.Addresses = statement.MachineRecorder, brevet.Selector{}, nil
			m.Keys = []statement.MachineKey{{Use: statement.KeySeal, Key: machineKey(t, "x")}}
		}), "keys[0].key.kind"},
		{"log with targets", changed(gateway(t), func(m *M) { m.Use, m.Keys = statement.MachineLog, m.Keys[:1] }), "targets"},
		{"gateway for no kind of target", changed(gateway(t), func(m *M) { m.Targets.Kind = "" }), "targets.kind"},
		{"label with line break", changed(gateway(t), func(m *M) { m.Targets.Labels = map[string]string{"a": "b\nc"} }), "targets.labels"},
		{"range with host bits", changed(gateway(t), func(m *M) { m.Addresses = []string{"10.0.0.1/8"} }), "addresses"},
		{"address without length", changed(gateway(t), func(m *M) { m.Addresses = []string{"10.0.0.1"} }), "addresses"},

		{"catalog of no manifest", changed(samples(t)[5].(statement.Catalog), func(c *statement.Catalog) { c.Manifest = "" }), "manifest"},
		{"catalog message", changed(samples(t)[5].(statement.Catalog), func(c *statement.Catalog) { c.Message = " x" }), "message"},

		{"own request approved", changed(approval(t), func(a *A) { a.By = a.Person }), "by"},
		{"stage negative", changed(approval(t), func(a *A) { a.Stage = -1 }), "stage"},
		{"approval of no request", changed(approval(t), func(a *A) { a.Request = "req_1" }), "request"},
		{"approval of no terms", changed(approval(t), func(a *A) { a.Terms = statement.Terms{} }), "person"},
		{"comment", changed(approval(t), func(a *A) { a.Comment = "a\tb" }), "comment"},

		{"revokes nothing", changed(revocation(), func(v *V) { v.What = "" }), "what"},
		{"revokes no person", changed(revocation(), func(v *V) { v.Subject = "Bob" }), "subject"},
		{"revokes no grant", changed(revocation(), func(v *V) { v.What = statement.RevokeGrant }), "subject"},
		{"revokes no request", changed(revocation(), func(v *V) { v.What = statement.RevokeRequest }), "subject"},
		{"revokes serial 0", changed(revocation(), func(v *V) { v.What, v.Subject = statement.RevokeCredential, "0" }), "subject"},
		{"revokes serial 01", changed(revocation(), func(v *V) { v.What, v.Subject = statement.RevokeCredential, "01" }), "subject"},
		{"revokes no key", changed(revocation(), func(v *V) { v.What = statement.RevokeKey }), "subject"},
		{"revokes without reason", changed(revocation(), func(v *V) { v.Reason = "" }), "reason"},

		{"intent policies doubled", changed(intent(t), func(i *I) { i.Policies = append(i.Policies, i.Policies...) }), "policies"},
		{"intent of no bundle", changed(intent(t), func(i *I) { i.Bundle = "" }), "bundle"},
		{"intent of no roster", changed(intent(t), func(i *I) { i.Roster = "" }), "roster"},

		{"grant with request's id", changed(grant(t), func(g *G) { g.ID = brevet.GrantID(strings.Replace(string(g.ID), "grt", "req", 1)) }), "id"},
		{"grant ends before it begins", changed(grant(t), func(g *G) { g.To = g.From }), "to"},
		{"grant outlives its duration", changed(grant(t), func(g *G) { g.To++ }), "to"},
		{"index negative", changed(grant(t), func(g *G) { g.Index = -1 }), "intent_index"},
		{"serial beyond 64 bits", changed(grant(t), func(g *G) { g.Serial = "18446744073709551616" }), "serial"},
		{"no certificate", changed(grant(t), func(g *G) { g.Cert = "" }), "certificate"},

		{"status of no grant", changed(samples(t)[11].(statement.Status), func(s *statement.Status) { s.Grant = "" }), "grant"},
		{"status of an empty log", changed(samples(t)[11].(statement.Status), func(s *statement.Status) { s.Size = 0 }), "size"},

		{"challenge short", changed(samples(t)[12].(statement.SignIn), func(s *statement.SignIn) { s.Challenge = "00" }), "challenge"},
		{"no client", changed(samples(t)[12].(statement.SignIn), func(s *statement.SignIn) { s.Client = "" }), "client"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.payload.Validate()
			wantKind(t, err, brevet.Invalid)
			message, _ := brevet.MessageOf(err)
			if !strings.HasPrefix(message, tt.field) || strings.HasPrefix(strings.TrimPrefix(message, tt.field), ".") {
				t.Errorf("message %q does not begin with the field %s", message, tt.field)
			}
		})
	}
}

func many[T ~string](n int) []T {
	var names []T
	for i := range n {
		names = append(names, T(fmt.Sprintf("n%05d", i)))
	}
	return names
}

func TestCheckText(t *testing.T) {
	good := []string{"", "deploy of the März release", "日本語のテキスト", "naïve — “quoted”", "prod 🔥 down", "a b", "\u05e9\u05dc\u05d5\u05dd"}
	for _, s := range good {
		if err := statement.CheckText("reason", s, 100); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	bad := []struct{ name, text string }{
		{"line feed", "a\nb"}, {"return", "a\rb"}, {"tab", "a\tb"}, {"NUL", "a\x00b"}, {"escape", "\x1b[31mred"}, {"delete", "a\x7fb"},
		{"C1 CSI", "a\u009b31m"}, {"next line", "a\u0085b"}, {"line separator", "a\u2028b"}, {"paragraph separator", "a\u2029b"},
		{"right-to-left override", "a\u202eb"}, {"isolate", "a\u2066b"}, {"Arabic letter mark", "a\u061cb"},
		{"zero-width space", "a\u200bb"}, {"zero-width joiner", "a\u200db"}, {"word joiner", "a\u2060b"}, {"byte order mark", "\ufeffa"},
		{"soft hyphen", "a\u00adb"}, {"tag letters", "a\U000e0041b"}, {"variation selector", "a\ufe0f"}, {"selector supplement", "a\U000e0100"},
		{"Hangul filler", "a\u3164b"}, {"combining joiner", "a\u034fb"}, {"private use", "a\ue000b"}, {"noncharacter", "a\uffffb"},
		{"NFD", "Ma\u0308rz"}, {"compatibility-free but decomposed", "\u212b"}, {"not UTF-8", "a\xffb"}, {"surrogate bytes", "\xed\xa0\x80"},
		{"blank", " "}, {"leading blank", " a"}, {"trailing no-break space", "a\u00a0"}, {"101 characters", strings.Repeat("ä", 101)}, {"1 MiB", strings.Repeat("a", 1<<20)},
	}
	for _, tt := range bad {
		t.Run(tt.name, func(t *testing.T) {
			err := statement.CheckText("reason", tt.text, 100)
			wantKind(t, err, brevet.Invalid)
			if err != nil && (!strings.HasPrefix(err.Error(), "reason ") || len(err.Error()) > 200) {
				t.Errorf("message %q does not name the field, or is long", err)
			}
		})
	}
	if err := statement.CheckText("reason", strings.Repeat("ä", 100), 100); err != nil {
		t.Errorf("100 characters of two bytes: %v", err)
	}
}

func TestCheckLogin(t *testing.T) {
	for _, s := range []string{"root", "_apt", "www-data", "a.b", "0x", "__"} {
		if err := statement.CheckLogin("login", s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []string{"", "-x", ".x", "Root", "a b", "a,b", "a/b", "a*", "a%", "rööt", "a\n", "a\x00", strings.Repeat("a", 33)} {
		wantKind(t, statement.CheckLogin("login", s), brevet.Invalid)
	}
}
