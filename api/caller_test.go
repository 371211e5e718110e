package api

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/brevet-pim/brevet"
	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/api/brevet/v1/brevetv1connect"
	"github.com/brevet-pim/brevet/identity/enrol"
)

var audienceNames = map[string]audience{"anyone": anyone, "people": people, "gateways": machine}

// procedures returns every procedure of the generated code, as paths.
func procedures(t *testing.T) map[string]protoreflect.MethodDescriptor {
	t.Helper()
	all := map[string]protoreflect.MethodDescriptor{}
	protoregistry.GlobalFiles.RangeFilesByPackage(pb.File_brevet_v1_types_proto.Package(), func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				method := service.Methods().Get(j)
				all["/"+string(service.FullName())+"/"+string(method.Name())] = method
			}
		}
		return true
	})
	if len(all) < 40 {
		t.Fatalf("found only %d procedures", len(all))
	}
	return all
}

// TestEveryProcedureIsInTheReference holds docs/reference/api.md, the code and its table of
// audiences against each other: a new procedure needs a row that somebody thought about.
func TestEveryProcedureIsInTheReference(t *testing.T) {
	page, err := os.ReadFile("../docs/reference/api.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]audience{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+/\\w+)` \\| (\\w+) \\|").FindAllStringSubmatch(string(page), -1) {
		rows["/brevet.v1."+m[1]] = audienceNames[m[2]]
	}
	all := procedures(t)
	for procedure := range all {
		if got, row := audienceOf(procedure), rows[procedure]; got == nobody || got != row {
			t.Errorf("%s: the code opens it to %d, the reference to %d", procedure, got, row)
		}
	}
	for procedure := range rows {
		if all[procedure] == nil {
			t.Errorf("the reference has %s, which is no procedure", procedure)
		}
	}
	for named := range audiences {
		service := strings.TrimPrefix(named, "/")
		service, _, _ = strings.Cut(service, "/")
		if _, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service)); err != nil || strings.HasPrefix(named, "/") && all[named] == nil {
			t.Errorf("the table of audiences has %s, which is nothing", named)
		}
	}
}

func TestWhatIsUnknownIsClosed(t *testing.T) {
	for _, path := range []string{
		"", "/", "/brevet.v1.NewService/Do", "/brevet.v1.AuthServiceX/SignIn", "/brevet.v2.AuthService/SignIn",
		"//brevet.v1.AuthService/SignIn", "/x/brevet.v1.AuthService/SignIn", "/BREVET.V1.AuthService/SignIn",
	} {
		if got := audienceOf(path); got != nobody {
			t.Errorf("audienceOf(%q) = %d, want nobody", path, got)
		}
	}
	// A method that no row names is as open as its service, never more.
	if got := audienceOf(brevetv1connect.AuthServiceSignInProcedure + "/"); got != people {
		t.Errorf("a path below an open procedure is open to %d", got)
	}
}

// TestWhoReachesWhat calls every procedure as everybody.
func TestWhoReachesWhat(t *testing.T) {
	w := serve(t, func(m *Middleware) http.Handler {
		return m.Wrap(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusAccepted) }))
	})
	nobodysKey := newCertificate(t, false)
	stranger, person, gateway := w.visit(&nobodysKey), w.signIn("bob", time.Hour), w.gateway("gw-1")
	bare := w.visit(nil)
	stolen := w.visit(&nobodysKey) // bob's token over another connection
	stolen.token = person.token
	both := w.gateway("gw-2") // a gateway with a person's token is not the person
	both.token = person.token
	expired, made := w.signIn("carol", -time.Second), w.visit(&nobodysKey)
	made.token = enrol.NewToken().Reveal()
	for procedure := range procedures(t) {
		a := audienceOf(procedure)
		for name, try := range map[string]struct {
			as visitor
			in bool
		}{
			"without a certificate":           {bare, a == anyone},
			"a stranger":                      {stranger, a == anyone},
			"a person":                        {person, a == anyone || a == people},
			"a gateway":                       {gateway, a == anyone || a == machine},
			"a token bound to another key":    {stolen, a == anyone},
			"a gateway with another's token":  {both, a == anyone || a == machine},
			"a token that is over":            {expired, a == anyone},
			"a token that nobody ever got":    {made, a == anyone},
			"a token in a form that is wrong": {visitor{stranger.Client, w, "brevet_t_x"}, a == anyone},
		} {
			status, answer := try.as.post(procedure, asJSON, "{}")
			if in := status == http.StatusAccepted; in != try.in || !in && status != http.StatusUnauthorized {
				t.Errorf("%s, %s: status %d, %s", procedure, name, status, answer)
			}
			if try.as.token != "" && strings.Contains(answer, try.as.token) {
				t.Errorf("%s, %s: the answer repeats the token", procedure, name)
			}
		}
	}
}

func TestNobodySpendsTheBudgetOfWhoIsSignedIn(t *testing.T) {
	w := serve(t, func(m *Middleware) http.Handler {
		m.Strangers = newBudget(3)
		return m.Wrap(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusAccepted) }))
	})
	stranger, bob := w.visit(nil), w.signIn("bob", time.Hour)
	for i := range 4 {
		status, answer := stranger.post(brevetv1connect.AuthServiceGetChallengeProcedure, asJSON, "{}")
		if want := i < 3; (status == http.StatusAccepted) != want {
			t.Errorf("call %d: %d %s", i+1, status, answer)
		}
		if i == 3 && status != http.StatusTooManyRequests {
			t.Errorf("beyond the budget: %d %s", status, answer)
		}
	}
	for _, procedure := range []string{brevetv1connect.PeopleServiceGetRosterProcedure, brevetv1connect.AuthServiceWhoAmIProcedure} {
		if status, answer := bob.post(procedure, asJSON, "{}"); status != http.StatusAccepted {
			t.Errorf("%s while strangers next door are too many: %d %s", procedure, status, answer)
		}
	}
}

func TestHandlersLearnWhoCalls(t *testing.T) {
	w := newWorld(t, services{request: requestToy{get: echo}}, nil)
	got, err := w.signIn("bob", time.Hour).requests().GetRequest(t.Context(), &pb.GetRequestRequest{Id: "x"})
	if err != nil || got.GetRequest().GetPerson() != "bob" || got.GetRequest().GetVia() != string(brevet.ViaAPI) {
		t.Errorf("the handler saw %v, %v", got, err)
	}
}

// The scheme of a token is written in any case (RFC 9110 section 11.1).
func TestSchemeInLowerCase(t *testing.T) {
	w := serve(t, func(m *Middleware) http.Handler {
		return m.Wrap(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusAccepted) }))
	})
	bob := w.signIn("bob", time.Hour)
	for header, want := range map[string]int{
		"bearer " + bob.token: http.StatusAccepted,
		"BEARER " + bob.token: http.StatusAccepted,
		"bearer" + bob.token:  http.StatusUnauthorized,
		"Basic " + bob.token:  http.StatusUnauthorized,
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, bob.url()+brevetv1connect.AuthServiceWhoAmIProcedure, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", asJSON)
		r.Header.Set("Authorization", header)
		response, err := bob.Client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%.8s…: %d, want %d", header, response.StatusCode, want)
		}
	}
}

// A content type that was forgotten is told in words.
func TestForgottenContentType(t *testing.T) {
	w := newWorld(t, services{request: requestToy{get: echo}}, nil)
	bob := w.signIn("bob", time.Hour)
	status, answer := bob.post(brevetv1connect.RequestServiceGetRequestProcedure, "application/x-www-form-urlencoded", "{}")
	if status != http.StatusUnsupportedMediaType || !strings.Contains(answer, "Content-Type: application/json") {
		t.Errorf("got %d, %q", status, answer)
	}
}
