package api

import (
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/identity/enrol"
	"github.com/brevet-pim/brevet/proof/prooftest"
	"github.com/brevet-pim/brevet/statement"
)

// invite has alice invite the person and returns the code.
func (d *day) invite(person string) enrol.Code {
	d.t.Helper()
	made, err := d.alice.people().Invite(d.t.Context(), &pb.InviteRequest{Person: person, Kind: "person", Uses: []string{"request"}})
	must(d.t, err)
	code, err := enrol.ParseCode(made.GetCode())
	must(d.t, err)
	return code
}

// TestWithdrawnCodesAreUnknown: nobody can tell a code that was withdrawn from one that never was, no key that
// was shown with it comes into the roster any more, and one that led to an enrolment cannot be withdrawn.
func TestWithdrawnCodesAreUnknown(t *testing.T) {
	p := newPlane(t)
	d := &day{plane: p, alice: p.login("alice")}
	withdraw := func(code string) error {
		return second(d.alice.people().WithdrawInvitation(t.Context(), &pb.WithdrawInvitationRequest{Code: code}))
	}

	d.code = d.invite("grace")
	must(t, withdraw(d.code.Secret.Digest()))
	open := d.answerInvitation()
	d.code.Secret = enrol.NewSecret()
	unknown := d.answerInvitation()
	code(t, "an answer to a code that was withdrawn", open, connect.CodePermissionDenied)
	if unknown == nil || open.Error() != unknown.Error() {
		t.Errorf("withdrawn: %v\nunknown: %v", open, unknown)
	}

	d.code = d.invite("grace")
	must(t, d.answerInvitation())
	must(t, withdraw(d.code.Secret.Digest()))
	code(t, "the key of an answer that was withdrawn", d.enrolGrace(), connect.CodeFailedPrecondition)
	code(t, "a code that was withdrawn before", withdraw(d.code.Secret.Digest()), connect.CodeFailedPrecondition)
	code(t, "a code that never was", withdraw(strings.Repeat("ab", 32)), connect.CodeNotFound)

	d.code = d.invite("grace")
	must(t, d.answerInvitation())
	must(t, d.enrolGrace())
	code(t, "a code that led to an enrolment", withdraw(d.code.Secret.Digest()), connect.CodeFailedPrecondition)
	list, err := d.alice.people().ListInvitations(t.Context(), &pb.ListInvitationsRequest{})
	if err != nil || len(list.GetInvitations()) != 0 {
		t.Errorf("left: %v, %v", list, err)
	}
}

// TestNoCodeForWhatTheRosterRefuses: a code that can lead to no enrolment is not made.
func TestNoCodeForWhatTheRosterRefuses(t *testing.T) {
	p := newPlane(t)
	alice := p.login("alice").people()
	for want, asked := range map[string]*pb.InviteRequest{
		"uses: a workload's key is to request":     {Person: "boty", Owner: "bob", Uses: []string{"approve", "request"}},
		"owner: nosuch is no person of the roster": {Person: "boty", Owner: "nosuch", Uses: []string{"request"}},
		"owner: a workload cannot own itself":      {Person: "boty", Owner: "boty", Uses: []string{"request"}},
	} {
		asked.Kind = "workload"
		err := second(alice.Invite(t.Context(), asked))
		code(t, want, err, connect.CodeInvalidArgument)
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	must(t, second(alice.Invite(t.Context(), &pb.InviteRequest{Person: "boty", Kind: "workload", Owner: "bob", Uses: []string{"request"}})))
}

// TestRetirementTellsBeforeAndAfter: the event of a retirement shows the person's keys before and after it.
func TestRetirementTellsBeforeAndAfter(t *testing.T) {
	p := newPlane(t)
	d := &day{plane: p, alice: p.login("alice")}
	fingerprint := prooftest.Fingerprint(t, p.Keys["bob"].Key())
	before := d.spine.Store.Size()
	retire := statement.Retire{
		Header: p.header(), Link: p.Link(), Person: "bob", Key: fingerprint, Since: time.Now().UnixMicro(), Reason: "lost",
	}
	must(t, second(d.alice.people().AppendRoster(t.Context(), &pb.AppendRosterRequest{Statement: p.signed(retire, p.Keys["alice"])})))
	told := d.since(before)
	if len(told) == 0 || told[0].Kind != "retire" || told[0].Actor != "alice" {
		t.Fatalf("told %v", told)
	}
	body := string(told[0].Body)
	after, was, ok := strings.Cut(body, `"before":[{"person":"bob"`)
	if !ok || strings.Contains(was, `"retired":true`) || !strings.Contains(after, `"after":[{"person":"bob"`) || !strings.Contains(after, `"retired":true`) ||
		strings.Count(body, `{"key":"`+fingerprint+`"`) != 2 {
		t.Errorf("told %s", body)
	}
}
