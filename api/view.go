package api

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/brevet-pim/brevet"
	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/flow"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/store"
)

// stamp returns t for the wire; a zero time is absent, and so is an end beyond the year 9999, which no
// Timestamp may hold and which means none (a founder's key).
func stamp(t time.Time) *timestamppb.Timestamp {
	on := timestamppb.New(t)
	if t.IsZero() || !on.IsValid() {
		return nil
	}
	return on
}

// moment returns what the wire said; absent is the zero time.
func moment(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

func texts[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return out
}

func words[T ~string](list []string) []T {
	out := make([]T, len(list))
	for i, s := range list {
		out[i] = T(s)
	}
	return out
}

// each converts a list.
func each[A, B any](list []A, f func(A) B) []B {
	out := make([]B, len(list))
	for i, a := range list {
		out[i] = f(a)
	}
	return out
}

func viewRequest(r flow.RequestView) *pb.Request {
	return &pb.Request{
		Id:              string(r.ID),
		StatementId:     r.Request.Statement,
		State:           string(r.State),
		Person:          string(r.Person),
		Role:            string(r.Role),
		Targets:         texts(r.Targets),
		Logins:          r.Logins,
		DurationSeconds: int64(r.Duration),
		Reason:          r.Reason,
		Ticket:          r.Ticket,
		Holder:          string(r.Holder),
		Via:             string(r.Via),
		Key:             r.Key,
		At:              stamp(r.At),
		Deadline:        stamp(r.Deadline),
		Decision:        viewDecision(r.Decision, r.Stages),
		Why:             r.Why,
		Approvals:       each(r.Approvals, viewApproval),
		Grant:           string(r.Grant),
		Statement:       r.Envelope,
		Sensitivity:     string(r.Sensitivity),
		Recorded:        r.Recorded,
	}
}

func viewDecision(d brevet.Decision, stages []flow.StageView) *pb.Decision {
	return &pb.Decision{
		Outcome:  string(d.Outcome),
		Policies: d.Policies,
		Reasons:  append(append([]string{}, d.Reasons...), d.Errors...),
		Stages: each(stages, func(s flow.StageView) *pb.Stage {
			return &pb.Stage{Group: string(s.Group), Count: int32(s.Count), ApprovedBy: texts(s.ApprovedBy), MayApprove: texts(s.MayApprove)}
		}),
	}
}

func viewApproval(a brevet.Approval) *pb.Approval {
	return &pb.Approval{
		By:              string(a.By),
		Agreed:          a.Agreed,
		Stage:           int32(a.Stage),
		DurationSeconds: int64(a.Duration),
		Comment:         a.Comment,
		Presence:        string(a.Presence),
		Key:             a.Key,
		At:              stamp(a.At),
	}
}

func viewGrant(g flow.GrantView) *pb.Grant {
	if g.ID == "" {
		return nil
	}
	return &pb.Grant{
		Id:        string(g.ID),
		Request:   string(g.Request),
		State:     string(g.State),
		Person:    string(g.Person),
		Role:      string(g.Role),
		Targets:   texts(g.Targets),
		Logins:    g.Logins,
		Holder:    string(g.Holder),
		From:      stamp(g.From),
		To:        stamp(g.To),
		EndedAt:   stamp(g.EndedAt),
		EndedBy:   g.EndedBy,
		EndReason: g.EndReason,
		ClosedAt:  stamp(g.ClosedAt),
		Confirmations: each(g.Confirmations, func(c flow.Confirmation) *pb.Confirmation {
			return &pb.Confirmation{Machine: string(c.Machine), At: stamp(c.At), TookMicroseconds: c.Took.Microseconds()}
		}),
	}
}

func viewSession(s flow.SessionView) *pb.Session {
	return &pb.Session{
		Id:        string(s.ID),
		Grant:     string(s.Grant),
		Person:    string(s.Person),
		Target:    string(s.Target),
		Login:     s.Login,
		Machine:   string(s.Machine),
		Source:    s.Source,
		Kind:      s.Kind,
		Command:   s.Command,
		Recorded:  s.Recorded,
		StartedAt: stamp(s.StartedAt),
		EndedAt:   stamp(s.EndedAt),
		EndReason: s.EndReason,
		Recording: viewRecording(s.Recording),
		GrantTo:   stamp(s.GrantTo),
		Watchers:  texts(s.Watchers),
	}
}

func viewRecording(r brevet.RecordingState) *pb.Recording {
	return &pb.Recording{Chunks: int32(r.Chunks), Bytes: r.Bytes, Root: r.Root, Complete: r.Complete}
}

// readSession returns what a gateway said of a session of its own.
func readSession(machine brevet.MachineID, s *pb.Session) brevet.Session {
	return brevet.Session{
		ID:        brevet.SessionID(s.GetId()),
		Grant:     brevet.GrantID(s.GetGrant()),
		Person:    brevet.PersonID(s.GetPerson()),
		Target:    brevet.TargetID(s.GetTarget()),
		Login:     s.GetLogin(),
		Machine:   machine,
		Source:    s.GetSource(),
		Kind:      s.GetKind(),
		Command:   s.GetCommand(),
		Recorded:  s.GetRecorded(),
		StartedAt: moment(s.GetStartedAt()),
		EndedAt:   moment(s.GetEndedAt()),
		EndReason: s.GetEndReason(),
		Recording: brevet.RecordingState{
			Chunks:   int(s.GetRecording().GetChunks()),
			Bytes:    s.GetRecording().GetBytes(),
			Root:     s.GetRecording().GetRoot(),
			Complete: s.GetRecording().GetComplete(),
		},
	}
}

func viewRole(r flow.RoleView) *pb.Role {
	return &pb.Role{
		Name:           string(r.Role.Name),
		Description:    r.Role.Description,
		Targets:        texts(r.Targets),
		Logins:         r.Role.SSH.Logins,
		LongestSeconds: int64(r.Role.Limits.Duration),
		Needs:          r.Needs,
		Outcome:        string(r.Decision.Outcome),
		AsksReason:     r.Role.Asks.Reason,
		TicketPattern:  r.Role.Asks.Ticket,
		Sensitivity:    string(r.Role.Sensitivity),
		Recorded:       r.Role.Recording == brevet.RecordingRequired,
		RoleDigest:     r.Digest,
		Holders: each(r.Holders, func(h flow.HolderView) *pb.Holder {
			return &pb.Holder{Machine: string(h.Machine), Key: h.Key, Address: h.Address, Targets: texts(h.Targets)}
		}),
		Reasons: r.Decision.Reasons,
	}
}

func viewEvent(e flow.EventView) *pb.Event {
	return &pb.Event{
		Index:   e.Index,
		Id:      string(e.ID),
		Kind:    e.Kind,
		Subject: e.Subject,
		At:      stamp(e.At),
		Actor:   e.Actor,
		Request: string(e.Request),
		Grant:   string(e.Grant),
		Session: string(e.Session),
		Message: e.Message,
		Record:  string(e.Record),
	}
}

func viewLeaf(e store.Entry) *pb.Leaf {
	return &pb.Leaf{
		Index:     e.Index,
		Kind:      e.Kind,
		Subject:   e.Subject,
		BodyHash:  e.BodyHash[:],
		Salt:      e.Salt,
		Record:    e.Body,
		Statement: e.Statement,
	}
}

func viewFinding(f flow.Finding) *pb.Finding {
	return &pb.Finding{Level: f.Level, Place: f.Place, Message: f.Message}
}

func viewPerson(p flow.PersonView) *pb.Person {
	return &pb.Person{
		Id:         string(p.ID),
		Kind:       string(p.Kind),
		Owner:      string(p.Owner),
		Groups:     texts(p.Groups),
		Suspended:  p.Suspension != "",
		Suspension: p.Suspension,
		Founder:    p.Founder,
		Keys: each(p.Keys, func(k flow.KeyView) *pb.Key {
			return &pb.Key{
				Person:      string(p.ID),
				Fingerprint: k.Fingerprint,
				Public:      k.Public,
				Uses:        k.Uses,
				From:        stamp(k.From),
				Until:       stamp(k.Until),
				Retired:     k.Retired,
			}
		}),
	}
}

func viewMachine(m flow.MachineView) *pb.Machine {
	return &pb.Machine{Id: string(m.ID), Use: m.Use, Connected: m.Connected, SeenAt: stamp(m.SeenAt), Sessions: int32(m.Sessions)}
}

func viewInvitation(i store.Invitation) *pb.Invitation {
	v := &pb.Invitation{
		Person:     string(i.Person),
		Kind:       string(i.Kind),
		Owner:      string(i.Owner),
		Uses:       i.Uses,
		State:      "open",
		Until:      stamp(i.ExpiresAt),
		PublicKey:  i.Key,
		Code:       i.Code,
		Possession: i.Possession,
		InvitedBy:  string(i.CreatedBy),
	}
	if i.AnsweredAt.IsZero() {
		return v
	}
	v.State = "answered"
	if key, err := statement.ParseSSHKey(i.Key); err == nil { // else it cannot be signed for either
		v.Fingerprint, _ = statement.Fingerprint(key) // "" if it has none
	}
	return v
}
