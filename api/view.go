package api

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/brevet-pim/brevet"
	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/flow"
)

// stamp returns t for the wire; a zero time is absent.
func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
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
		Recording: &pb.Recording{
			Chunks:   int32(s.Recording.Chunks),
			Bytes:    s.Recording.Bytes,
			Root:     s.Recording.Root,
			Complete: s.Recording.Complete,
		},
		GrantTo:  stamp(s.GrantTo),
		Watchers: texts(s.Watchers),
	}
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
