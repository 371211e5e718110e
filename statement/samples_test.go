package statement_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/statement"
)

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func digestOf(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func idOf(s string) statement.ID { return statement.ID(digestOf(s)) }

// fixedKey returns the signer of a key that depends on the name only, so that samples and
// fuzz seeds are the same on every run.
func fixedKey(t testing.TB, name string) (ssh.Signer, ed25519.PrivateKey) {
	t.Helper()
	seed := sha256.Sum256([]byte(name))
	private := ed25519.NewKeyFromSeed(seed[:])
	return must(ssh.NewSignerFromSigner(private))(t), private
}

func sshKey(t testing.TB, name string) statement.Key {
	t.Helper()
	s, _ := fixedKey(t, name)
	return must(statement.SSHKey(s.PublicKey()))(t)
}

func machineKey(t testing.TB, name string) statement.Key {
	t.Helper()
	_, private := fixedKey(t, name)
	return must(statement.MachineKeyOf(private.Public()))(t)
}

func fingerprint(t testing.TB, k statement.Key) string {
	t.Helper()
	return must(statement.Fingerprint(k))(t)
}

func header() statement.Header {
	return statement.Header{Org: idOf("org"), Nonce: digestOf("nonce")[:32], At: noon.UnixMicro(), Until: noon.Add(time.Hour).UnixMicro()}
}

func terms(t testing.TB) statement.Terms {
	t.Helper()
	return statement.Terms{
		Person: "bob", Role: "web-root", RoleDigest: digestOf("role"),
		Targets: []brevet.TargetID{"web1", "web2"}, Logins: []string{"root"}, Duration: 1800,
		Holder: statement.Holder{Machine: "gw1", Key: fingerprint(t, sshKey(t, "holder"))},
	}
}

func root(t testing.TB) statement.Root {
	h := header()
	h.Org = ""
	return statement.Root{
		Header: h, Link: statement.Link{Number: 1}, Name: "Example Ltd", Threshold: 1,
		Founders: []statement.Founder{{Person: "alice", Keys: []statement.Key{sshKey(t, "alice")}}},
		Log:      statement.Log{Origin: "example.com/brevet", Epoch: 1},
	}
}

func enrol(t testing.TB) statement.Enrol {
	t.Helper()
	key := sshKey(t, "bob")
	code := digestOf("code")
	ssh, _ := fixedKey(t, "bob")
	signer := must(statement.SSHSigner(ssh))(t)
	proof := must(statement.Possession{Org: idOf("org"), Person: "bob", Key: key, Code: code}.Prove(t.Context(), signer))(t)
	return statement.Enrol{
		Header: header(), Link: statement.Link{Number: 2, Previous: idOf("root")},
		Enrolments: []statement.Enrolment{{
			Person: "bob", Kind: brevet.Person, Key: key, Uses: []statement.Use{statement.UseApprove, statement.UseRequest},
			From: noon.UnixMicro(), Until: noon.AddDate(1, 0, 0).UnixMicro(), Code: code, Possession: proof,
		}},
	}
}

func gateway(t testing.TB) statement.Machine {
	return statement.Machine{
		Header: header(), Link: statement.Link{Number: 3, Previous: idOf("enrol")}, Name: "gw1", Use: statement.MachineGateway,
		Keys: []statement.MachineKey{
			{Use: statement.KeyStatement, Key: machineKey(t, "gw-statement")},
			{Use: statement.KeyHolder, Key: sshKey(t, "holder")},
		},
		Targets:   brevet.Selector{Kind: brevet.SSHHost, Labels: map[string]string{"app": "web"}},
		Addresses: []string{"10.0.0.0/8", "2001:db8::/32"},
	}
}

func request(t testing.TB) statement.Request {
	return statement.Request{Header: header(), Terms: terms(t), Reason: "deploy failed, see März log", Ticket: "OPS-7", Via: brevet.ViaCLI}
}

func sshRequest(t testing.TB) statement.Request {
	r := request(t)
	r.Via = brevet.ViaSSH
	r.Seen = statement.Seen{Key: fingerprint(t, sshKey(t, "bob")), Presence: brevet.TouchPresence, Source: "192.0.2.7"}
	return r
}

func approval(t testing.TB) statement.Approval {
	return statement.Approval{Header: header(), Request: idOf("request"), By: "alice", Terms: terms(t), Comment: "go on"}
}

func revocation() statement.Revocation {
	return statement.Revocation{Header: header(), By: "alice", What: statement.RevokePerson, Subject: "bob", Reason: "left the company"}
}

func intent(t testing.TB) statement.Intent {
	return statement.Intent{
		Header: header(), Request: idOf("request"), Terms: terms(t), Bundle: digestOf("bundle"), Roster: idOf("roster"), Catalog: idOf("catalog"),
		Approvals: []statement.ID{idOf("approval")}, Policies: []string{"sre.cedar#sre-may-ask"},
	}
}

func grant(t testing.TB) statement.Grant {
	return statement.Grant{
		Header: header(), ID: brevet.GrantID("grt_" + strings.Repeat("0", 26)), Request: idOf("request"), Terms: terms(t),
		From: noon.UnixMicro(), To: noon.Add(30 * time.Minute).UnixMicro(), Approvals: []statement.ID{idOf("approval")},
		Roster: idOf("roster"), Catalog: idOf("catalog"), Intent: idOf("intent"), Index: 41, Serial: "18446744073709551615", Cert: digestOf("certificate"),
	}
}

// samples returns a well-formed payload of every kind.
func samples(t testing.TB) []statement.Payload {
	t.Helper()
	link := statement.Link{Number: 4, Previous: idOf("machine")}
	all := []statement.Payload{
		root(t), enrol(t),
		statement.Retire{Header: header(), Link: link, Person: "bob", Key: fingerprint(t, sshKey(t, "bob")), Reason: "laptop lost"},
		statement.Reinstate{Header: header(), Link: link, Person: "bob", Revocation: idOf("revocation"), Reason: "false alarm"},
		gateway(t),
		statement.Catalog{Header: header(), Link: statement.Link{Number: 1}, Manifest: digestOf("manifest"), Message: "first roles"},
		request(t), approval(t), revocation(), intent(t), grant(t),
		statement.Status{Header: header(), Grant: grant(t).ID, Size: 42, Roster: idOf("roster"), Catalog: idOf("catalog")},
		statement.SignIn{Header: header(), Person: "bob", Challenge: digestOf("challenge"), Client: digestOf("client")},
		statement.Receipt{Header: header(), Revocation: idOf("revocation"), Size: 42},
	}
	var kinds []statement.Kind
	for _, p := range all {
		kinds = append(kinds, p.StatementKind())
	}
	if !slices.Equal(kinds, statement.Kinds()) {
		t.Fatalf("samples are of %v, want one of each of %v", kinds, statement.Kinds())
	}
	return all
}
