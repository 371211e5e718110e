package flow

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/audit"
	"github.com/brevet-pim/brevet/issuer"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
	"github.com/brevet-pim/brevet/store"
)

// trusted are the kinds of statement that what is in force is made of.
var trusted = []string{
	string(statement.KindRoot), string(statement.KindEnrol), string(statement.KindRetire), string(statement.KindReinstate),
	string(statement.KindMachine), string(statement.KindCatalog), string(statement.KindRevocation),
}

// Begin reads what is in force from the log, back from the pinned root. A log that does not
// lead from it, or a statement in it that was changed, is an error that names it: a server
// that cannot tell who may do what does not start.
func (s *Spine) Begin(ctx context.Context) error {
	s.moved, s.planning = make(chan struct{}), make(chan struct{}, 1)
	var size int64
	var entries []proof.Entry
	var manifests map[string][]byte
	err := s.Store.Read(ctx, func(q *store.Query) (err error) {
		if _, size, err = q.Checkpoint(); err != nil {
			return err
		}
		if last, err := q.Entry(size - 1); err == nil {
			s.before = last.At
		} else if brevet.KindOf(err) != brevet.NotFound { // of an empty log more is said below
			return err
		}
		if entries, err = s.trustedFrom(q, 0); err != nil {
			return err
		}
		manifests, err = manifestsOf(q, entries)
		return err
	})
	if err != nil {
		return fmt.Errorf("read what is in force: %w", err)
	}
	if len(entries) == 0 {
		return brevet.Errorf(brevet.NotFound, "the database has no organisation").WithHint("brevet init")
	}
	state, err := proof.Found(entries[0], s.Root)
	if err != nil {
		return err
	}
	if state, err = state.Extend(manifests, entries[1:]...); err != nil {
		return err
	}
	s.mu.Lock()
	s.state, s.followed = state, size
	s.mu.Unlock()
	_, err = s.tellIssuer(ctx)
	return err
}

// trustedFrom returns the statements of the trusted kinds from an index on. What the row says
// of a statement must be what its bytes say: an edited row is not passed over.
func (s *Spine) trustedFrom(q *store.Query, from int64) ([]proof.Entry, error) {
	var all []proof.Entry
	for {
		rows, err := q.Statements(trusted, from, page)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			envelope, err := envelopeOf(row)
			if err != nil {
				return nil, err
			}
			all = append(all, proof.Entry{Index: row.Index, Envelope: envelope})
		}
		if len(rows) < page {
			return all, nil
		}
		from = rows[len(rows)-1].Index + 1
	}
}

// envelopeOf returns the statement of an event, if it is the one that the log has.
func envelopeOf(e store.Entry) (statement.Envelope, error) {
	envelope, err := statement.Parse(e.Statement)
	if err != nil {
		return statement.Envelope{}, changed(e.Index, err)
	}
	if e.Kind != string(statement.KindIntent) && string(envelope.ID()) != e.Subject {
		return statement.Envelope{}, changed(e.Index, nil)
	}
	return envelope, nil
}

func changed(index int64, cause error) error {
	return brevet.Errorf(brevet.Refused, "the statement at %d of the log was changed in the database", index).Because(cause).
		WithHint("restore the database from a backup; an export that was kept is checked without a server: brevet audit verify --file FILE")
}

func manifestsOf(q *store.Query, entries []proof.Entry) (map[string][]byte, error) {
	manifests := map[string][]byte{}
	for i := len(entries) - 1; i >= 0; i-- { // only the last one is needed
		kind, err := entries[i].Envelope.Kind()
		if err != nil {
			return nil, err
		}
		if kind != statement.KindCatalog {
			continue
		}
		c, err := statement.Open[statement.Catalog](entries[i].Envelope)
		if err != nil {
			return nil, err
		}
		manifests[c.Manifest], err = q.Manifest(c.Manifest)
		return manifests, err
	}
	return manifests, nil
}

// followLog takes in what is new in the log until ctx ends, this server's writes and others'.
func (s *Spine) followLog(ctx context.Context) error {
	for ctx.Err() == nil {
		if _, err := s.Store.Wait(ctx, s.followedSize()); err != nil {
			return nil
		}
		if err := s.catchUp(ctx); err != nil && ctx.Err() == nil {
			s.Log.ErrorContext(ctx, "the log is not followed: nothing can be given", "error", err)
			select {
			case <-time.After(retryFollow):
			case <-ctx.Done():
			}
		}
	}
	return nil
}

// retryFollow is the pause after a failure to follow the log.
const retryFollow = time.Second

func (s *Spine) followedSize() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.followed
}

// catchUp takes in what is new and wakes whoever waits for it.
func (s *Spine) catchUp(ctx context.Context) error {
	news, err := s.tellIssuer(ctx)
	s.mu.Lock()
	s.trouble = err
	close(s.moved)
	s.moved = make(chan struct{})
	s.mu.Unlock()
	if err == nil {
		s.ring(ctx, news)
	}
	return err
}

// news is what the log has beyond a place.
type news struct {
	from       int64
	leaves     []audit.Leaf
	entries    []proof.Entry
	manifests  map[string][]byte
	checkpoint []byte
	size       int64
}

// matters reports whether what is in force is made of the leaf's statement, too.
func matters(l audit.Leaf) bool { return slices.Contains(trusted, l.Kind) }

// readNews reads what is new as of one moment.
func (s *Spine) readNews(ctx context.Context, from int64) (n news, err error) {
	little, err := s.Store.News(ctx, from, page)
	if err != nil {
		return news{}, err
	}
	n = news{from: from, leaves: little.Leaves, checkpoint: little.Checkpoint, size: little.Size}
	if from+int64(len(n.leaves)) == n.size && !slices.ContainsFunc(n.leaves, matters) {
		return n, nil
	}
	err = s.Store.Read(ctx, func(q *store.Query) (err error) {
		n = news{from: from}
		if n.checkpoint, n.size, err = q.Checkpoint(); err != nil {
			return err
		}
		if n.leaves, err = leavesUpTo(q, from, n.size); err != nil {
			return err
		}
		if !slices.ContainsFunc(n.leaves, matters) {
			return nil
		}
		if n.entries, err = s.trustedFrom(q, from); err != nil {
			return err
		}
		n.manifests, err = manifestsOf(q, n.entries)
		return err
	})
	return n, err
}

// since returns the part of the news that the issuer has not heard.
func (n news) since(heard int64) issuer.Feed {
	feed := issuer.Feed{From: heard, Leaves: n.leaves[heard-n.from:], Manifests: n.manifests, Checkpoint: n.checkpoint}
	for _, e := range n.entries {
		if e.Index >= heard {
			feed.Entries = append(feed.Entries, e)
		}
	}
	return feed
}

func leavesUpTo(q *store.Query, from, size int64) ([]audit.Leaf, error) {
	var leaves []audit.Leaf
	for at := from; at < size; at = from + int64(len(leaves)) {
		more, err := q.Leaves(at, int(min(page, size-at)))
		if err != nil {
			return nil, err
		}
		if len(more) == 0 {
			return nil, brevet.Errorf(brevet.Refused, "the log has a checkpoint of %d events and only %d rows", size, at).
				WithHint("rows were taken out of the database: restore it from a backup; an export that was kept is checked without a server: brevet audit verify --file FILE")
		}
		leaves = append(leaves, more...)
	}
	return leaves, nil
}

// tellIssuer brings first the issuer to the newest checkpoint, then the server's own view, so
// that when followed has grown both know. Only Begin and followLog call it, one after the other.
// What it returns may begin with what the server knew before.
func (s *Spine) tellIssuer(ctx context.Context) (news, error) {
	from := s.followedSize()
	heard, err := s.Issuer.Size(ctx)
	if err != nil {
		return news{}, err
	}
	n, err := s.readNews(ctx, min(from, heard))
	if err != nil {
		return news{}, err
	}
	if heard > n.size {
		return news{}, brevet.Errorf(brevet.Refused, "the issuer has followed %d events and the log has %d: the database was put back", heard, n.size).
			WithHint("restore the newest backup; nothing is given until the log goes on from where it was")
	}
	cosigned, err := s.Issuer.Follow(ctx, n.since(heard))
	if err != nil {
		return news{}, err
	}
	state, err := s.State().Extend(n.manifests, n.entries...)
	if err != nil {
		return news{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state, s.followed, s.cosigned = state, n.size, cosigned
	return n, nil
}

// patience is how long whoever waits for the log to be followed bears with a failure to follow it:
// long enough for one more try.
const patience = 3 * retryFollow

// await returns once the log is followed up to size, or says why it is not.
func (s *Spine) await(ctx context.Context, size int64) error {
	patient := time.NewTimer(patience)
	defer patient.Stop()
	for {
		s.mu.Lock()
		followed, moved, trouble := s.followed, s.moved, s.trouble
		s.mu.Unlock()
		if followed >= size {
			return nil
		}
		var impatient <-chan time.Time
		if trouble != nil {
			impatient = patient.C
		}
		select {
		case <-moved:
		case <-impatient:
			return brevet.Errorf(brevet.Unavailable, "the issuer does not follow the log, so nothing can be given").Because(trouble).
				WithHint("brevet doctor says more")
		case <-ctx.Done():
			return brevet.Errorf(brevet.Unavailable, "the issuer did not follow the log in time").Because(ctx.Err())
		}
	}
}
