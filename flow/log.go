package flow

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/store"
)

// eventView is an event as the log has it.
func eventView(e store.Entry) EventView {
	return EventView{
		Index: e.Index, ID: e.ID, Kind: e.Kind, Subject: e.Subject, At: e.At, Actor: e.Actor,
		Request: e.Request, Grant: e.Grant, Session: e.Session, Message: messageOf(e), Record: e.Body,
	}
}

// messageOf returns the sentence of an event's record; of an erased one it says that.
func messageOf(e store.Entry) string {
	if e.Body == nil {
		return "erased"
	}
	var record struct {
		Message string `json:"message"`
	}
	if err := json.Unmarshal(e.Body, &record); err != nil {
		return "the record cannot be read"
	}
	return record.Message
}

// reads makes it an event that the caller reads the log, after policy has allowed it.
func (s *Spine) reads(ctx context.Context, by brevet.Caller, kind, message string, detail any) error {
	if err := s.view().may(by, readsAudit); err != nil {
		return err
	}
	event := s.event(kind, "", by, message)
	event.Subject, event.Detail = string(event.ID), detail
	_, err := s.Store.Change(ctx, func(*store.Tx) ([]brevet.Event, error) { return []brevet.Event{event}, nil })
	return err
}

// SearchEvents returns the events that the filter wants, newest first, and whether there are more before them.
func (s *Spine) SearchEvents(ctx context.Context, by brevet.Caller, f store.Filter) (views []EventView, more bool, err error) {
	if err := s.reads(ctx, by, "audit.searched", fmt.Sprintf("%s searched the audit log", by.Person), f); err != nil {
		return nil, false, err
	}
	q := s.Store.Query(ctx)
	entries, err := q.Search(f)
	if err != nil {
		return nil, false, err
	}
	for _, e := range entries {
		views = append(views, eventView(e))
	}
	if len(entries) == (store.Page{Limit: f.Limit}).Size() && views[len(views)-1].Index > 0 { // nothing is before event 0
		f.Before, f.Limit = views[len(views)-1].Index, 1
		before, err := q.Search(f)
		return views, len(before) > 0, err
	}
	return views, false, nil
}

// TailEvents tells of events from an index on, or with -1 of new ones only, until ctx ends or tell fails.
func (s *Spine) TailEvents(ctx context.Context, by brevet.Caller, from int64, tell func([]EventView) error) error {
	if err := s.reads(ctx, by, "audit.searched", fmt.Sprintf("%s follows the audit log", by.Person), map[string]any{"from": from}); err != nil {
		return err
	}
	if from < 0 {
		from = s.Store.Size()
	}
	for {
		entries, err := s.Store.Query(ctx).Entries(from, page)
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			if _, err := s.Store.Wait(ctx, from); err != nil {
				return err
			}
			continue
		}
		views := make([]EventView, len(entries))
		for i, e := range entries {
			views[i], from = eventView(e), e.Index+1
		}
		if err := s.view().may(by, readsAudit); err != nil {
			return err // they may not any more
		}
		if err := tell(views); err != nil {
			return err
		}
	}
}

// ExportLog tells every event of a range with its record, up to the newest checkpoint if to is 0,
// and returns the checkpoint that covers them.
func (s *Spine) ExportLog(ctx context.Context, by brevet.Caller, from, to int64, tell func([]store.Entry) error) ([]byte, error) {
	if err := s.reads(ctx, by, "audit.exported", fmt.Sprintf("%s exported the audit log", by.Person), map[string]any{"from": from, "to": to}); err != nil {
		return nil, err
	}
	q := s.Store.Query(ctx)
	checkpoint, size, err := q.Checkpoint()
	if err != nil {
		return nil, err
	}
	if to == 0 {
		to = size
	}
	if from < 0 || to > size || from > to {
		return nil, brevet.Errorf(brevet.Invalid, "from, to: the log has %d events; %d to %d are not among them", size, from, to)
	}
	for at := from; at < to; {
		entries, err := q.Entries(at, int(min(page, to-at)))
		if err != nil {
			return nil, err
		}
		if len(entries) == 0 {
			return nil, brevet.Errorf(brevet.Refused, "the log has a checkpoint of %d events, and none at %d: rows were taken out of the database", size, at)
		}
		at = entries[len(entries)-1].Index + 1
		if err := tell(entries); err != nil {
			return nil, err
		}
	}
	return checkpoint, nil
}

// Checkpoint returns the newest checkpoint, signed by the log and, up to the last second or so, by
// the issuer, and the log's verifier key. Whoever has signed in may keep one: the more do, the
// harder is it to change the log.
func (s *Spine) Checkpoint(_ context.Context, _ brevet.Caller) (signed []byte, logKey string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cosigned, s.LogKey, nil
}

// Consistency returns the proof that the log of size to begins with the log of size from.
func (s *Spine) Consistency(ctx context.Context, _ brevet.Caller, from, to int64) ([][]byte, error) {
	size := s.Store.Size()
	if from < 1 || to < from || to > size {
		return nil, brevet.Errorf(brevet.Invalid, "from, to: the log has %d events", size).
			WithHint("a checkpoint of more events than the log has shows that the log was put back")
	}
	hashes, err := s.Store.Query(ctx).Consistency(to, from)
	proof := make([][]byte, len(hashes))
	for i, h := range hashes {
		proof[i] = h[:]
	}
	return proof, err
}

// sourceOf returns the address that a gateway saw.
func sourceOf(seen statement.Seen) netip.Addr {
	address, err := netip.ParseAddr(seen.Source)
	if err != nil {
		return netip.Addr{} // statement.Open has checked it
	}
	return address
}
