package attack_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/api/brevet/v1/brevetv1connect"
	"github.com/brevet-pim/brevet/api/dial"
	"github.com/brevet-pim/brevet/cli/home"
	"github.com/brevet-pim/brevet/identity/enrol"
	"github.com/brevet-pim/brevet/statement"
)

// visitor calls the API with what brevet login left behind: a person whose client is of their own making.
type visitor struct {
	*world
	id       brevet.PersonID
	client   *http.Client
	token    enrol.Token
	signer   statement.Signer
	requests brevetv1connect.RequestServiceClient
}

// visit returns a person who has signed in.
func (w *world) visit(name string) *visitor {
	w.Helper()
	h, err := home.Open(filepath.Join(w.home(name), "brevet"))
	must(w, err)
	defer h.Close()
	in, err := h.SignIn()
	must(w, err)
	pin, err := dial.ParsePin(w.pin)
	must(w, err)
	client, err := dial.Client(w.api, pin, &in.Certificate)
	must(w, err)
	w.Cleanup(client.CloseIdleConnections)
	v := &visitor{world: w, id: brevet.PersonID(name), client: client, token: in.Token, signer: w.signer(name)}
	v.requests = brevetv1connect.NewRequestServiceClient(v, v.url())
	return v
}

func (w *world) url() string { return "https://" + w.api }

// signer signs with the person's key.
func (w *world) signer(name string) statement.Signer {
	w.Helper()
	text, err := os.ReadFile(w.key(name))
	must(w, err)
	key, err := gossh.ParsePrivateKey(text)
	must(w, err)
	signer, err := statement.SSHSigner(key)
	must(w, err)
	return signer
}

// Do implements connect.HTTPClient.
func (v *visitor) Do(r *http.Request) (*http.Response, error) {
	r.Header.Set("Authorization", "Bearer "+v.token.Reveal())
	return v.client.Do(r)
}

// call sends a body by any method, as curl does.
func (v *visitor) call(method, path, contentType string, body []byte) (int, string) {
	v.Helper()
	r, err := http.NewRequest(method, v.url()+path, bytes.NewReader(body))
	must(v, err)
	r.Header.Set("Content-Type", contentType)
	response, err := v.Do(r)
	must(v, err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	must(v, err)
	return response.StatusCode, string(answer)
}

// header is that of a statement of now.
func (w *world) header() statement.Header {
	now := time.Now()
	return statement.NewHeader(statement.ID(w.root), now, now.Add(time.Hour))
}

// request reads a request as this person sees it.
func (v *visitor) request(id string) *pb.Request {
	v.Helper()
	got, err := v.requests.GetRequest(v.Context(), &pb.GetRequestRequest{Id: id})
	must(v, err)
	return got.GetRequest()
}

// approval is a yes by somebody to all of the request.
func (v *visitor) approval(by brevet.PersonID, id string) statement.Approval {
	v.Helper()
	e, err := statement.Parse(v.request(id).GetStatement())
	must(v, err)
	asked, err := statement.Open[statement.Request](e)
	must(v, err)
	return statement.Approval{Header: v.header(), Request: e.ID(), By: by, Terms: asked.Terms}
}

// signed signs an approval with the visitor's key, whatever it says.
func (v *visitor) signed(a statement.Approval) []byte {
	v.Helper()
	return v.seal(statement.KindApproval, a)
}

// seal signs a payload without looking at it.
func (v *visitor) seal(kind statement.Kind, p any) []byte {
	v.Helper()
	payload, err := statement.Canonical(p)
	must(v, err)
	e := statement.Envelope{PayloadType: kind.PayloadType(), Payload: payload}
	must(v, e.Add(v.Context(), v.signer))
	raw, err := e.Marshal()
	must(v, err)
	return raw
}

// create hands in a request that is signed, whatever it says.
func (v *visitor) create(r statement.Request) error {
	v.Helper()
	_, err := v.requests.CreateRequest(v.Context(), &pb.CreateRequestRequest{Statement: v.seal(statement.KindRequest, r)})
	return err
}

// approve hands in a signed approval.
func (v *visitor) approve(raw []byte) error {
	_, err := v.requests.Approve(v.Context(), &pb.ApproveRequest{Statement: raw})
	return err
}

// yamlString quotes a name for a catalog, whatever is in it.
func yamlString(s string) string {
	quoted, err := json.Marshal(s)
	if err != nil {
		panic(err) // of a string it is never
	}
	return string(quoted)
}

// says fails the test unless the error says so.
func says(t testing.TB, err error, sentence string) {
	t.Helper()
	if err == nil || !bytes.Contains([]byte(err.Error()), []byte(sentence)) {
		t.Errorf("got %v, want %q", err, sentence)
	}
}
