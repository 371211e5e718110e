package api

import (
	"bytes"
	"context"
	"encoding/base64"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/proof/prooftest"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/store"
)

// TestNothingIsSignedWithoutAGrant (Q18) calls every procedure, as everybody, with every method, in every
// form and with the most tempting messages there are, in an organisation where nobody may have anything
// at once. No certificate comes of it, and nothing that leads to one.
func TestNothingIsSignedWithoutAGrant(t *testing.T) {
	p := newPlane(t)
	bob, carol := p.login("bob"), p.login("carol")
	waiting := p.ask(bob, "web-root") // nobody has agreed to it
	p.Now = time.Now().UTC()
	statements := p.temptations(waiting.GetStatement())
	nobodysKey := newCertificate(t, false)
	callers := map[string]visitor{
		"a stranger": p.visit(&nobodysKey), "nobody": p.visit(nil), "bob": bob, "carol": carol, "erin": p.login("erin"),
		"gw-1": p.gateways["gw-1"], "gw-2": p.gateways["gw-2"],
	}
	calls := 0
	for procedure, method := range procedures(t) {
		if strings.HasSuffix(procedure, "/SignOut") {
			continue // it would end the others' tries
		}
		bodies := p.bodies(method, waiting.GetId(), statements)
		for who, caller := range callers {
			for _, try := range tries(method, bodies) {
				if answer := caller.try(procedure, try); certificateIn(answer) {
					t.Errorf("%s gets a certificate: %s %s as %q: %.300s", who, try.verb, procedure, try.contentType, answer)
				}
				calls++
			}
		}
	}
	t.Logf("%d calls", calls)
	q := p.spine.Store.Query(t.Context())
	for _, kind := range []string{"intent", "grant", "approval"} {
		events, err := q.Search(store.Filter{Kind: kind, Limit: 1})
		must(t, err)
		if len(events) != 0 {
			t.Errorf("there is an event %s: %s", kind, events[0].Body)
		}
	}
	if _, err := q.Credential(brevet.RequestID(waiting.GetId()).Grant()); brevet.KindOf(err) != brevet.NotFound {
		t.Errorf("the waiting request has a credential: %v", err)
	}
	if now := must1(q.Request(brevet.RequestID(waiting.GetId())))(t); now.State != brevet.Waiting {
		t.Errorf("the waiting request is %s", now.State)
	}
	// All the same, what was asked for can be had in the one right way.
	envelope := must1(statement.Parse(waiting.GetStatement()))(t)
	p.approve(carol, proof.Entry{Envelope: envelope})
	if g := must1(q.Grant(brevet.RequestID(waiting.GetId()).Grant()))(t); g.State != brevet.Live {
		t.Errorf("with an approval the grant is %s", g.State)
	}
}

func must1[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		must(t, err)
		return v
	}
}

func (p *plane) approve(by visitor, r proof.Entry) {
	p.t.Helper()
	p.Now = time.Now().UTC()
	message := `{"statement": "` + base64.StdEncoding.EncodeToString(p.signed(p.Approval("carol", r, 0), p.Keys["carol"])) + `"}`
	if status, answer := by.post("/brevet.v1.RequestService/Approve", asJSON, message); status != http.StatusOK {
		p.t.Fatalf("%d %s", status, answer)
	}
}

// temptations are signed statements that could lead to a grant, if somebody did not look.
func (p *plane) temptations(waiting []byte) [][]byte {
	p.t.Helper()
	asked := proof.Entry{Envelope: must1(statement.Parse(waiting))(p.t)}
	inline := func(person brevet.PersonID, by statement.Signer) []byte {
		r := p.Request(person, "web-root")
		r.Via = brevet.ViaSSH
		r.Seen = statement.Seen{Key: prooftest.Fingerprint(p.t, p.Keys[person].Key()), Presence: brevet.NoPresence, Source: "192.0.2.7"}
		return p.signed(r, by)
	}
	signIn := p.signed(statement.SignIn{Header: p.header(), Person: "erin", Challenge: strings.Repeat("00", 56), Client: strings.Repeat("ab", 32)}, p.Keys["erin"])
	return [][]byte{
		waiting,
		p.signed(p.Request("erin", "web-now"), p.Keys["erin"]), // whom no policy permits it
		p.signed(p.Request("bob", "web-now"), p.Keys["erin"]),  // whom one would permit it, and erin is not
		p.signed(p.Approval("erin", asked, 0), p.Keys["erin"]), // who is not asked
		p.signed(p.Approval("carol", asked, 0), p.Keys["bob"]), // bob for carol
		inline("frank", p.Gateways["gw-1"].Statements),
		inline("bob", p.Keys["bob"]),
		signIn,
	}
}

// bodies are messages of the procedure's kind: empty, and filled with the statements and names that there are.
func (p *plane) bodies(method protoreflect.MethodDescriptor, request string, statements [][]byte) []proto.Message {
	p.t.Helper()
	kind, err := protoregistry.GlobalTypes.FindMessageByName(method.Input().FullName())
	must(p.t, err)
	bodies := []proto.Message{kind.New().Interface()}
	for _, s := range statements {
		m := kind.New()
		p.fill(m, request, s)
		bodies = append(bodies, m.Interface())
		if m.Descriptor().Fields().ByName("statement") == nil {
			break // one of these is enough
		}
	}
	return bodies
}

// fill gives every field a value that could mean something.
func (p *plane) fill(m protoreflect.Message, request string, signed []byte) {
	words := map[protoreflect.Name]string{
		"target": "web1", "login": "root", "person": "bob", "role": "web-root", "presence": "touch", "source": "192.0.2.7", "name": "web1.brevet",
		"key": prooftest.Fingerprint(p.t, p.Keys["bob"].Key()), "id": request, "grant": string(brevet.RequestID(request).Grant()),
		"public_key": strings.TrimSpace(p.Keys["bob"].Key().Public), "address": "gw1.test:7022", "kind": "person", "challenge": strings.Repeat("00", 56),
		"session": "ses_" + strings.Repeat("0", 26), "reason": "x", "owner": "carol", "uses": "request", "targets": "web1",
	}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if f.Name() == "wait" || f.Name() == "page_token" || f.ContainingOneof() != nil && !f.HasOptionalKeyword() {
			continue
		}
		var v protoreflect.Value
		switch f.Kind() {
		case protoreflect.StringKind:
			v = protoreflect.ValueOfString(words[f.Name()])
		case protoreflect.BytesKind:
			v = protoreflect.ValueOfBytes(signed)
		case protoreflect.Int64Kind:
			v = protoreflect.ValueOfInt64(60)
		case protoreflect.Int32Kind:
			v = protoreflect.ValueOfInt32(1)
		case protoreflect.BoolKind:
			v = protoreflect.ValueOfBool(true)
		default:
			continue
		}
		if f.IsList() {
			m.Mutable(f).List().Append(v)
		} else {
			m.Set(f, v)
		}
	}
}

// try is one way to call a procedure.
type try struct {
	verb, contentType string
	body              []byte
	streams           bool
}

func tries(method protoreflect.MethodDescriptor, bodies []proto.Message) []try {
	streams := method.IsStreamingServer() || method.IsStreamingClient()
	var all []try
	for _, m := range bodies {
		text, _ := protojson.Marshal(m)
		wire, _ := proto.Marshal(m)
		all = append(all,
			try{http.MethodPost, asJSON, text, streams}, try{http.MethodPost, "application/proto", wire, streams},
			try{http.MethodPost, "application/connect+json", framed(text), streams},
			try{http.MethodPost, "application/grpc", framed(wire), streams},
			try{http.MethodPost, "application/grpc-web+json", framed(text), streams},
		)
	}
	text, _ := protojson.Marshal(bodies[len(bodies)-1])
	for _, verb := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, http.MethodTrace, "BREVET"} {
		all = append(all, try{verb, asJSON, text, streams})
	}
	for _, contentType := range []string{"", "text/plain", "application/x-www-form-urlencoded", "application/pkcs10", "application/xml"} {
		all = append(all, try{http.MethodPost, contentType, text, streams})
	}
	return all
}

// streamPatience is how long the first answer of a stream is waited for: a good one has no end.
const streamPatience = 200 * time.Millisecond

// try calls, and returns the answer's headers and body.
func (v visitor) try(procedure string, one try) []byte {
	v.world.t.Helper()
	ctx := v.world.t.Context()
	if one.streams {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, streamPatience)
		defer cancel()
	}
	r, err := http.NewRequestWithContext(ctx, one.verb, v.url()+procedure, bytes.NewReader(one.body))
	must(v.world.t, err)
	if one.contentType != "" {
		r.Header.Set("Content-Type", one.contentType)
	}
	var answer bytes.Buffer
	response, err := v.Do(r)
	if err != nil {
		if !one.streams {
			v.world.t.Fatal(err)
		}
		return nil
	}
	defer response.Body.Close()
	_ = response.Header.Write(&answer)
	_, err = answer.ReadFrom(response.Body)
	if err != nil && !one.streams {
		v.world.t.Fatal(err)
	}
	return answer.Bytes()
}

var base64s = regexp.MustCompile(`[A-Za-z0-9+/]{40,}={0,2}`)

// certificateIn reports whether there is a certificate of any kind in the answer, as it is or in base64.
func certificateIn(answer []byte) bool {
	if bytes.Contains(answer, []byte("-cert-v01@openssh.com")) || bytes.Contains(answer, []byte("BEGIN CERTIFICATE")) {
		return true
	}
	for _, text := range base64s.FindAll(answer, -1) {
		if inside, err := base64.StdEncoding.DecodeString(string(text)); err == nil && bytes.Contains(inside, []byte("-cert-v01@openssh.com")) {
			return true
		}
	}
	return false
}
