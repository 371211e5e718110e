package proof_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/audit"
	"github.com/brevet-pim/brevet/policy"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/proof/prooftest"
	"github.com/brevet-pim/brevet/statement"
)

// given is a good grant: bob's db-admin, agreed to by carol and erin.
type given struct {
	*prooftest.Org
	ev proof.Evidence
}

func agreed(t testing.TB) given {
	t.Helper()
	o := prooftest.New(t, prooftest.Options{Addresses: []string{"192.0.2.0/24"}})
	r := o.Ask("bob", "db-admin", nil)
	return given{o, prooftest.Evidence(r, o.Approve("carol", r, 0, nil), o.Approve("erin", r, 1, nil))}
}

func refused(t *testing.T, err error, sentence string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want %q", sentence)
	}
	message, _ := brevet.MessageOf(err)
	if kind := brevet.KindOf(err); kind != brevet.Refused && kind != brevet.Invalid || !strings.Contains(message, sentence) {
		t.Errorf("got %v %q\nwant %q", kind, message, sentence)
	}
}

func TestCheckAGoodProof(t *testing.T) {
	g := agreed(t)
	b := g.Give(g.ev, nil, nil, nil)
	raw, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := proof.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	report, err := proof.Check(parsed, proof.Trust{Root: g.Root}, g.Now)
	if err != nil {
		t.Fatal(err)
	}
	text := report.String()
	for _, want := range []string{
		"✓ root ", "1 founder: one administrator could have made this",
		"✓ request   bob, SHA256:", "never used before",
		"✓ policy    catalog 1, all.cedar#sre-may-ask-db; evaluated again: same answer",
		"✓ approval  carol, SHA256:", "✓ approval  erin, SHA256:", ", no touch shown, for exactly this request",
		"✓ grant     postgres, root on db1 until 20", "held by gateway gw-1",
		"✓ log       leaf 11 of 13, checkpoint signed by the log and by issuer-1",
		"✓ cert      serial 1011, for db1/postgres, db1/root, gives nothing else",
		"not shown: a revocation after the first 13 events of the log, where this proof ends",
		"not shown: whether the issuer ran apart from the server",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
	// Who has the chains need not be shown them.
	parsed.Roster, parsed.Catalog, parsed.Manifest = nil, nil, nil
	if _, err := proof.Check(parsed, proof.Trust{Root: g.Root, State: g.State(), Memory: &proof.Memory{}}, g.Now); err != nil {
		t.Errorf("with the chains held: %v", err)
	}
	_, err = proof.Check(parsed, proof.Trust{Root: g.Root}, g.Now)
	refused(t, err, "the proof does not begin with the root")
	parsed.Certificate = nil
	report, err = proof.Check(parsed, proof.Trust{Root: g.Root, State: g.State()}, g.Now)
	if err != nil || !strings.Contains(report.String(), "– cert      not shown: that the certificate gave no more than the grant") {
		t.Errorf("without its certificate: %v\n%s", err, report)
	}
}

// TestEveryBitCounts flips one bit in each leaf of a good bundle, wherever it is, and drops and
// swaps records. Nothing of it may still be a proof.
func TestEveryBitCounts(t *testing.T) {
	g := agreed(t)
	good := g.Give(g.ev, nil, nil, nil)
	raw, err := good.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	trust := proof.Trust{Root: g.Root}
	tried := 0
	mutate(reflect.ValueOf(good).Elem(), "", func(path string, undo func()) {
		defer undo()
		tried++
		if report, err := proof.Check(good, trust, g.Now); err == nil && !harmless(path) {
			t.Errorf("%s was changed, and the proof holds: %v", path, report != nil)
		}
	})
	if again, _ := good.Marshal(); string(again) != string(raw) {
		t.Fatal("the bundle was not put back")
	}
	if tried < 300 {
		t.Errorf("only %d changes were tried", tried)
	}
	t.Logf("%d changes", tried)
}

// harmless are the changes after which a bundle says the same: the order of its lists of chains is not
// looked at, since each record has its place.
func harmless(path string) bool {
	// The grant may be so fresh that its own leaf is not there yet, and the report says so.
	return path == ".Version" || path == ".Grant.Body emptied" || path == ".Roster swapped" || path == ".Catalog swapped"
}

// mutate makes each change to what v holds and calls try after it; undo takes it back.
func mutate(v reflect.Value, path string, try func(path string, undo func())) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			mutate(v.Field(i), path+"."+v.Type().Field(i).Name, try)
		}
	case reflect.Slice:
		mutateSlice(v, path, try)
	case reflect.String:
		old := v.String()
		if old == "" {
			return
		}
		for _, at := range []int{0, len(old) / 2, len(old) - 1} {
			b := []byte(old)
			b[at] ^= 1
			v.SetString(string(b))
			try(path, func() { v.SetString(old) })
		}
		v.SetString("")
		try(path+" emptied", func() { v.SetString(old) })
	case reflect.Int64:
		old := v.Int()
		v.SetInt(old + 1)
		try(path, func() { v.SetInt(old) })
	}
}

func mutateSlice(v reflect.Value, path string, try func(path string, undo func())) {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		b := v.Bytes()
		if len(b) == 0 {
			return
		}
		for _, at := range []int{0, len(b) / 2, len(b) - 1} {
			b[at] ^= 1
			try(path, func() { b[at] ^= 1 })
		}
		v.SetBytes(b[:len(b)-1])
		try(path+" cut", func() { v.SetBytes(b) })
		return
	}
	old := v.Interface()
	for i := range v.Len() {
		mutate(v.Index(i), path+"[]", try)
		without := reflect.AppendSlice(reflect.AppendSlice(reflect.MakeSlice(v.Type(), 0, v.Len()), v.Slice(0, i)), v.Slice(i+1, v.Len()))
		v.Set(without)
		try(path+" dropped", func() { v.Set(reflect.ValueOf(old)) })
		if i > 0 {
			swap := reflect.Swapper(v.Interface())
			swap(i-1, i)
			try(path+" swapped", func() { swap(i-1, i) })
		}
	}
}

// TestCheckRefuses is the attack table of the offline check: everything is well signed, and one
// thing is not as it should be.
func TestCheckRefuses(t *testing.T) {
	give := func(onIntent func(given, *statement.Intent), onCertificate func(given, *ssh.Certificate), onGrant func(given, *statement.Grant)) func(given) *proof.Bundle {
		return func(g given) *proof.Bundle {
			return g.Give(g.ev,
				func(i *statement.Intent) { call(onIntent, g, i) },
				func(c *ssh.Certificate) { call(onCertificate, g, c) },
				func(x *statement.Grant) { call(onGrant, g, x) })
		}
	}
	intent := func(change func(given, *statement.Intent)) func(given) *proof.Bundle { return give(change, nil, nil) }
	certificate := func(change func(given, *ssh.Certificate)) func(given) *proof.Bundle { return give(nil, change, nil) }
	grant := func(change func(given, *statement.Grant)) func(given) *proof.Bundle { return give(nil, nil, change) }
	const other statement.ID = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
	for _, tt := range []struct {
		name     string
		make     func(given) *proof.Bundle
		sentence string
	}{
		{"an intent for more", intent(func(_ given, i *statement.Intent) { i.Duration = 3600 }), "the intent is for other terms"},
		{"an intent for another login", intent(func(_ given, i *statement.Intent) { i.Logins = []string{"root"} }), "the intent is for other terms"},
		{"an intent without an approval", intent(func(_ given, i *statement.Intent) { i.Approvals = i.Approvals[:1] }), "the intent counts other approvals"},
		{"an intent by another policy", intent(func(_ given, i *statement.Intent) { i.Policies = []string{"all.cedar#x"} }), "the intent names other policies"},
		{"an intent on other evidence", intent(func(_ given, i *statement.Intent) { i.Bundle = string(other) }), "the intent rests on other evidence"},
		{"an intent on another roster", intent(func(_ given, i *statement.Intent) { i.Roster = other }), "rests on a roster that is not ours"},
		{"an intent on another catalog", intent(func(_ given, i *statement.Intent) { i.Catalog = other }), "rests on a catalog that is not ours"},
		{"an intent of another organisation", intent(func(_ given, i *statement.Intent) { i.Org = other }), "the intent is of another organisation"},
		{"an intent from the future", intent(func(g given, i *statement.Intent) {
			i.At, i.Until = g.Now.Add(6*time.Minute).UnixMicro(), g.Now.Add(time.Hour).UnixMicro()
		}), "the intent is from the future"},
		{"an intent that is long ago", intent(func(g given, i *statement.Intent) { i.At = g.Now.Add(-6 * time.Minute).UnixMicro() }), "the request is from the future"},
		{"a grant for more", grant(func(_ given, x *statement.Grant) { x.Duration = 3600 }), "the grant gives other terms"},
		{"a grant for longer", grant(func(_ given, x *statement.Grant) { x.To += 1e6; x.Duration++ }), "the grant gives other terms"},
		{"a grant that begins later", grant(func(_ given, x *statement.Grant) { x.From += 301e6; x.To += 301e6 }), "does not begin soon after"},
		{"a grant that begins before", grant(func(_ given, x *statement.Grant) { x.From -= 10e6; x.To -= 10e6 }), "does not begin soon after"},
		{"a grant for another request", grant(func(_ given, x *statement.Grant) { x.Request = other }), "the grant is for another request"},
		{"a grant of another id", grant(func(_ given, x *statement.Grant) { x.ID = "grt_00000000000000000000000000" }), "the grant is for another request"},
		{"a grant on another intent", grant(func(_ given, x *statement.Grant) { x.Intent = other }), "the grant rests on another intent"},
		{"a grant on another leaf", grant(func(_ given, x *statement.Grant) { x.Index++ }), "the grant rests on another intent"},
		{"a grant on other approvals", grant(func(_ given, x *statement.Grant) { x.Approvals = []statement.ID{other} }), "rests on something else than its intent"},
		{"a grant on another roster", grant(func(_ given, x *statement.Grant) { x.Roster = other }), "rests on something else than its intent"},
		{"a grant of another organisation", grant(func(_ given, x *statement.Grant) { x.Org = other }), "the grant is of another organisation"},
		{"a certificate that it does not name", grant(func(_ given, x *statement.Grant) { x.Cert = string(other) }), "is not the one that the grant names"},
		{"a certificate of another serial", grant(func(_ given, x *statement.Grant) { x.Serial = "8" }), "the certificate's serial is not the grant's"},
		{"a certificate for another login", certificate(func(_ given, c *ssh.Certificate) { c.ValidPrincipals = []string{"db1/admin"} }), "the certificate's principals"},
		{"a certificate for longer", certificate(func(_ given, c *ssh.Certificate) { c.ValidBefore++ }), "the certificate's end"},
		{"a certificate for ever", certificate(func(_ given, c *ssh.Certificate) { c.ValidBefore = ssh.CertTimeInfinity }), "the certificate's end"},
		{"a certificate from before", certificate(func(_ given, c *ssh.Certificate) { c.ValidAfter = 0 }), "the certificate's beginning"},
		{"a certificate for hosts", certificate(func(_ given, c *ssh.Certificate) { c.CertType = ssh.HostCert }), "the certificate's type"},
		{"a certificate for another key", certificate(func(g given, c *ssh.Certificate) { c.Key = g.Gateways["gw-2"].Holder.PublicKey() }), "the certificate's key"},
		{"a certificate with forwarding", certificate(func(_ given, c *ssh.Certificate) { c.Extensions["permit-port-forwarding"] = "" }), "the certificate's extensions"},
		{"a certificate without its address", certificate(func(_ given, c *ssh.Certificate) { delete(c.CriticalOptions, "source-address") }), "the certificate's critical options"},
		{"a certificate in another name", certificate(func(_ given, c *ssh.Certificate) { c.KeyId = "alice" }), "the certificate's key id"},
		{"a certificate of another authority", func(g given) *proof.Bundle {
			g.Issuer.Users, _ = prooftest.NewKey(g.T)
			return g.Give(g.ev, nil, nil, nil)
		}, "the certificate's authority"},
		{"an intent by a gateway", func(g given) *proof.Bundle {
			g.Issuer.Statements = g.Gateways["gw-1"].Statements
			return g.Give(g.ev, nil, nil, nil)
		}, "gw-1 is a gateway, not an issuer"},
		{"an intent by nobody", func(g given) *proof.Bundle {
			_, g.Issuer.Statements = prooftest.NewKey(g.T)
			return g.Give(g.ev, nil, nil, nil)
		}, "is of no machine of ours"},
		{"an intent before the approval", func(g given) *proof.Bundle {
			first := g.ev
			late := g.Approve("dave", first.Request, 0, nil)
			b := g.Give(first, nil, nil, nil)
			b.Approvals[0], b.Approvals[1] = g.Log.Record(late.Index), b.Approvals[0]
			return b
		}, "the intent rests on other evidence"},
		{"an approval after the intent", func(g given) *proof.Bundle {
			b := g.Give(g.ev, nil, nil, nil)
			b.Approvals = append(b.Approvals, g.Log.Record(g.Approve("dave", g.ev.Request, 0, nil).Index))
			chains := g.Chains()
			b.Checkpoint = chains.Checkpoint
			return g.renew(b)
		}, "the intent stands in the log before what it rests on"},
		{"other claims", func(g given) *proof.Bundle {
			b := g.Give(g.ev, nil, nil, nil)
			risk := int64(3)
			b.Claimed = proof.ClaimsOf(policy.Claimed{Risk: &risk})
			return b
		}, "the intent rests on other evidence"},
		{"claims that are none", func(g given) *proof.Bundle {
			b := g.Give(g.ev, nil, nil, nil)
			b.Claimed = []brevet.Claim{{Name: "friend", Value: "yes"}}
			return b
		}, "the claimed values are not known"},
		{"a number that is claimed otherwise", func(g given) *proof.Bundle {
			b := g.Give(g.ev, nil, nil, nil)
			b.Claimed = []brevet.Claim{{Name: "risk", Value: "+3"}}
			return b
		}, "not written in the usual way"},
		{"a checkpoint without the issuer", func(g given) *proof.Bundle {
			b := g.Give(g.ev, nil, nil, nil)
			b.Checkpoint = string(g.Log.Checkpoint())
			return b
		}, "the log's checkpoint"},
		{"a checkpoint cosigned by another", func(g given) *proof.Bundle {
			b := g.Give(g.ev, nil, nil, nil)
			signed, err := audit.Cosign(g.Log.Checkpoint(), g.State().WitnessName("gw-1"), g.Issuer.Checkpoints, g.Now)
			if err != nil {
				g.T.Fatal(err)
			}
			b.Checkpoint = string(signed)
			return b
		}, "the log's checkpoint"},
		{"a checkpoint of before the grant", func(g given) *proof.Bundle {
			before := g.Chains().Checkpoint
			b := g.Give(g.ev, nil, nil, nil)
			b.Checkpoint = before
			return b
		}, "the log's checkpoint does not hold"},
		{"a retirement that moved in the log", func(g given) *proof.Bundle {
			g.Retire("carol", g.Now)
			b := g.Give(prooftest.Evidence(g.ev.Request, g.Approve("dave", g.ev.Request, 0, nil), g.ev.Approvals[1]), nil, nil, nil)
			last := &b.Roster[len(b.Roster)-1]
			last.Index = 1000
			return b
		}, "the log's checkpoint does not hold"},
		{"a retirement whose place is not shown", func(g given) *proof.Bundle {
			b := g.Give(g.ev, nil, nil, nil)
			g.Retire("carol", g.Now)
			chains := g.Chains()
			b.Roster, b.Checkpoint = chains.Roster, chains.Checkpoint
			g.renew(b).Roster[len(b.Roster)-1].Body = ""
			return b
		}, "the place of a statement in the log"},
		{"a suspension before the intent", func(g given) *proof.Bundle {
			h := g.Append(g.Revocation("alice", statement.RevokePerson, "bob"))
			g.Entries = g.Entries[:len(g.Entries)-1] // an issuer that does not want to know
			b := g.Give(g.ev, nil, nil, nil)
			b.Revocations = append(b.Revocations, g.Log.Record(h.Index))
			return b
		}, "bob is suspended"},
		{"another root", func(g given) *proof.Bundle {
			b := g.Give(g.ev, nil, nil, nil)
			o := prooftest.New(g.T, prooftest.Options{})
			b.Roster[0] = o.Log.Record(0)
			return b
		}, "which was pinned"},
		{"a second intent in the place of the first", func(g given) *proof.Bundle {
			var second statement.Envelope
			b := g.Give(g.ev, func(i *statement.Intent) {
				other := *i
				other.Header = g.Header(proof.IntentFresh)
				second = g.Sign(other, g.Issuer.Statements)
			}, nil, func(x *statement.Grant) { x.Intent = second.ID() })
			b.Intent.Statement = second
			return b
		}, "the intent's leaf is about another intent"},
		{"an intent for another request of the log", func(g given) *proof.Bundle {
			b := g.Give(g.ev, nil, nil, nil)
			other := g.Ask("bob", "db-admin", nil)
			b.Intent = g.Log.Record(b.Intent.Index)
			b.Request = g.Log.Record(other.Index)
			b.Approvals = nil
			intent, _ := g.Intend(proof.Evidence{Request: g.ev.Request, Approvals: g.ev.Approvals}, nil)
			b.Intent = g.Log.Record(intent.Index)
			b.Checkpoint = g.Chains().Checkpoint
			return g.renew(b)
		}, "the intent is for another request"},
		{"a grant by another issuer than its intent", func(g given) *proof.Bundle {
			_, users := prooftest.NewKey(g.T)
			second := prooftest.New(g.T, prooftest.Options{}).Issuer.Statements
			g.SetMachine(statement.Machine{Name: "issuer-2", Use: statement.MachineIssuer, Keys: []statement.MachineKey{
				{Use: statement.KeyStatement, Key: second.Key()}, {Use: statement.KeyUserCA, Key: users.Key()},
			}})
			return g.Give(g.ev, nil, nil, func(*statement.Grant) { g.Issuer.Statements = second })
		}, "the grant is signed by issuer-2, the intent by issuer-1"},
		{"no grant", func(g given) *proof.Bundle {
			b := g.Give(g.ev, nil, nil, nil)
			b.Grant = proof.Record{}
			return b
		}, "the proof has no grant"},
		{"another manifest", func(g given) *proof.Bundle {
			b := g.Give(g.ev, nil, nil, nil)
			b.Manifest = append(slices.Clone(b.Manifest), ' ')
			return b
		}, "the manifest of catalog 1 is not there"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := agreed(t)
			b := tt.make(g)
			_, err := proof.Check(b, proof.Trust{Root: g.Root}, g.Now)
			refused(t, err, tt.sentence)
		})
	}
}

// renew proves all places in the log as it is now.
func (g given) renew(b *proof.Bundle) *proof.Bundle {
	one := func(r *proof.Record) { *r = g.Log.Record(r.Index) }
	for _, list := range [][]proof.Record{b.Roster, b.Catalog, b.Revocations, b.Approvals} {
		for i := range list {
			one(&list[i])
		}
	}
	one(&b.Request)
	one(&b.Intent)
	one(&b.Grant)
	return b
}

func call[T any](f func(given, T), g given, x T) {
	if f != nil {
		f(g, x)
	}
}

func TestReportSaysWhatIsOver(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		do         func(given, *proof.Bundle)
	}{
		{"suspended later", "! over      alice suspended the person at", func(g given, _ *proof.Bundle) { g.Append(g.Revocation("alice", statement.RevokePerson, "bob")) }},
		{"revoked later", "! over      alice ended the grant at", func(g given, b *proof.Bundle) {
			x, err := statement.Open[statement.Grant](b.Grant.Statement)
			if err != nil {
				g.T.Fatal(err)
			}
			g.Append(g.Revocation("alice", statement.RevokeGrant, string(x.ID)))
		}},
		{"a key that was stolen", "! key       ", func(g given, _ *proof.Bundle) { g.Retire("carol", g.Now.Add(-time.Hour)) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := agreed(t)
			b := g.Give(g.ev, nil, nil, nil)
			tt.do(g, b)
			chains := g.Chains()
			b.Roster, b.Revocations, b.Checkpoint = chains.Roster, chains.Revocations, chains.Checkpoint
			report, err := proof.Check(g.renew(b), proof.Trust{Root: g.Root}, g.Now)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(report.String(), tt.want) {
				t.Errorf("the report lacks %q:\n%s", tt.want, report)
			}
		})
	}
}

// TestReportIsDated: a proof of years ago says of which day it is, and that it gives nothing any more.
func TestReportIsDated(t *testing.T) {
	o := prooftest.New(t, prooftest.Options{Start: time.Date(2024, 2, 29, 23, 50, 0, 0, time.UTC)})
	request := o.Ask("bob", "web-root", nil)
	b := o.Give(prooftest.Evidence(request, o.Approve("alice", request, 0, nil)), nil, nil, nil)
	report, err := proof.Check(b, proof.Trust{Root: o.Root}, o.Now)
	if err != nil {
		t.Fatal(err)
	}
	to := time.UnixMicro(report.Grant.To)
	if report.Expired || strings.Contains(report.String(), "! over") {
		t.Errorf("in its time it is said to be over:\n%s", report)
	}
	if report, err = proof.Check(b, proof.Trust{Root: o.Root}, to); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"✓ request   bob, ", ", 2024-02-29T23:50:", "web1 until 2024-03-01T00:20:", "! over      its time ended at 2024-03-01T00:20:"} {
		if !strings.Contains(report.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, report)
		}
	}
	if !report.Expired {
		t.Error("after its time it is not over")
	}
}

func TestRecordingsStandInTheLog(t *testing.T) {
	g := agreed(t)
	b := g.Give(g.ev, nil, nil, nil)
	index := g.Log.Append(brevet.Event{Kind: "recording.sealed", Subject: "ses_1", At: g.Now})
	salt, body := g.Log.Body(index)
	b.Checkpoint = g.Chains().Checkpoint
	g.renew(b)
	b.Recordings = []proof.Happened{{Index: index, Kind: "recording.sealed", Subject: "ses_1", Salt: salt, Record: body, Proof: g.Log.Inclusion(index)}}
	report, err := proof.Check(b, proof.Trust{Root: g.Root}, g.Now)
	if err != nil || !strings.Contains(report.String(), "✓ recording ses_1 complete, root in leaf 13") {
		t.Fatalf("%v\n%s", err, report)
	}
	for name, change := range map[string]func(*proof.Happened){
		"another kind":    func(h *proof.Happened) { h.Kind = "signin" },
		"another session": func(h *proof.Happened) { h.Subject = "ses_2" },
		"another body":    func(h *proof.Happened) { h.Record = append(slices.Clone(h.Record), ' ') },
		"another place":   func(h *proof.Happened) { h.Index-- },
		"no salt":         func(h *proof.Happened) { h.Salt = nil },
	} {
		h := b.Recordings[0]
		change(&h)
		bad := *b
		bad.Recordings = []proof.Happened{h}
		if _, err := proof.Check(&bad, proof.Trust{Root: g.Root}, g.Now); err == nil {
			t.Errorf("%s: it holds", name)
		}
	}
}
