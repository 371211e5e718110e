package issuer

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/audit"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
)

// Feed is what is new in the log.
type Feed struct {
	From   int64        // index of the first leaf; what Size returned
	Leaves []audit.Leaf // all up to the checkpoint
	// Entries are the bodies of all roster, catalog and revocation statements among the leaves,
	// in the order of the log. NotBefore is not looked at: the issuer has its own clock.
	Entries   []proof.Entry
	Manifests map[string][]byte // by hex of their SHA-256: of the last catalog among the entries
	// Checkpoint is signed by the log, for exactly From and the leaves.
	Checkpoint []byte
}

// ErrMismatch is the cause of a refusal that is more than a mistake: the log is not the one that
// the issuer followed. It was changed, cut, or put back. See also proof.ErrFork.
var ErrMismatch = errors.New("the log is not the one that was followed")

// demanded are the kinds of leaf whose bodies the issuer must see: what is in force is made of them.
var demanded = map[string]bool{
	string(statement.KindRoot): true, string(statement.KindEnrol): true, string(statement.KindRetire): true,
	string(statement.KindReinstate): true, string(statement.KindMachine): true, string(statement.KindCatalog): true,
	string(statement.KindRevocation): true,
}

// Follow takes in what is new in the log, durably, and returns its checkpoint with the issuer's
// cosignature. A feed that does not begin where the last ended is a Conflict; one that does not
// hold is Refused, and the issuer stays where it was. When Follow returns, nothing is signed any
// more that rests on less of what is in force.
//
// What makes no difference to that, as most of the log, is known as soon as it was examined: what is given
// by it is kept in the same commit, or a later one.
func (i *Issuer) Follow(ctx context.Context, feed Feed) (cosigned []byte, err error) {
	i.following.Lock()
	defer i.following.Unlock()
	before := i.knows()
	if feed.From != before.head.Size {
		return nil, brevet.Errorf(brevet.Conflict, "the issuer has followed %d events, and was told what comes after %d", before.head.Size, feed.From)
	}
	next, entries, err := i.examine(ctx, before, feed)
	if err != nil {
		i.alarm(ctx, err)
		return nil, err
	}
	at := i.clock.latest()
	if cosigned, err = audit.Cosign(feed.Checkpoint, next.state.WitnessName(i.name), i.keys.checkpoints, at); err != nil {
		return nil, err
	}
	next.followed = at
	p := &page{Feed: feed, state: i.state, kept: kept{head: next.head, checkpoint: cosigned, followed: at, forgotten: next.forgotten, entries: entries}}
	if i.current && len(entries) == 0 && len(feed.Leaves) <= maxComing {
		err = i.followAtOnce(ctx, before, next, p)
	} else {
		err = i.followWhenDurable(ctx, next, p)
	}
	if err != nil {
		return nil, err
	}
	i.current = true
	return cosigned, nil
}

// maxComing bounds how many leaves are known before they are durable.
const maxComing = 4096

// followAtOnce takes in leaves that change nothing of what is in force. They are on their way into the state
// before anybody can know of them, so what is given by them comes after them, or in the same commit.
func (i *Issuer) followAtOnce(ctx context.Context, before, next known, p *page) error {
	coming := p.coming()
	// If there are intents, somebody is about to issue.
	w := &write{what: "follow", do: p.write, patient: coming.intents(), done: make(chan struct{})}
	if err := i.state.send(ctx, w); err != nil {
		return err
	}
	i.state.coming.Store(&coming)
	i.learn(next)
	err := i.state.wait(w)
	if err != nil {
		i.learn(before)
	}
	i.state.coming.Store(nil)
	return err
}

func (i *Issuer) followWhenDurable(ctx context.Context, next known, p *page) error {
	if err := i.state.write(ctx, "follow", p.write); err != nil {
		return err
	}
	i.giving.Lock()
	defer i.giving.Unlock()
	i.learn(next)
	i.statuses.forget()
	return nil
}

// alarm tells of what only an attack or a disaster can bring about. It is logged here as well as
// returned: the caller may be the attacker.
func (i *Issuer) alarm(ctx context.Context, err error) {
	switch {
	case errors.Is(err, proof.ErrFork):
		i.log.ErrorContext(ctx, "somebody signed, or shows, a second statement with the number of another", "error", err)
	case errors.Is(err, ErrMismatch):
		i.log.ErrorContext(ctx, "the log was changed, cut or put back", "error", err)
	}
}

// examine checks the feed and returns what is known after it.
func (i *Issuer) examine(ctx context.Context, before known, feed Feed) (known, []proof.Entry, error) {
	head, err := audit.Replay(before.head, feed.Leaves)
	if err != nil {
		return known{}, nil, err
	}
	if head.Size == 0 {
		return known{}, nil, refuse("the log is empty")
	}
	if err := complete(feed); err != nil {
		return known{}, nil, err
	}
	entries := before.date(feed.Entries, i.clock.latest())
	next, err := i.extend(before.state, feed.Manifests, entries)
	if err != nil {
		return known{}, nil, err
	}
	if err := checkHead(next, feed.Checkpoint, head, i.memory); err != nil {
		return known{}, nil, err
	}
	unfit := before.unfit
	if before.state == nil || next.Roster != before.state.Roster {
		unfit = i.unfit(next)
	}
	forgotten, err := i.forgotten(ctx, before, feed)
	if err != nil {
		return known{}, nil, err
	}
	return known{state: next, head: head, forgotten: forgotten, unfit: unfit}, entries, nil
}

// forgotten returns the place of the last grant in the log that the issuer does not remember: then its state
// was put back to before it, and it may have given by any intent up to there.
func (i *Issuer) forgotten(ctx context.Context, before known, feed Feed) (int64, error) {
	last := before.forgotten
	for n, leaf := range feed.Leaves {
		if leaf.Kind != string(statement.KindGrant) {
			continue
		}
		if _, remembered := i.state.gave.Recall(statement.ID(leaf.Subject)); remembered {
			continue
		}
		gave, err := i.state.gaveBefore(ctx, statement.ID(leaf.Subject))
		if err != nil {
			return nowhere, err
		}
		if !gave {
			last = feed.From + int64(n)
		}
	}
	return last, nil
}

func (i *Issuer) extend(s *proof.State, manifests map[string][]byte, entries []proof.Entry) (*proof.State, error) {
	if s == nil {
		if len(entries) == 0 {
			return nil, refuse("the log does not begin with a root")
		}
		var err error
		if s, err = proof.Found(entries[0], i.root); err != nil {
			return nil, err
		}
		entries = entries[1:]
	}
	return s.Extend(manifests, entries...)
}

// complete checks that the bodies of all leaves that matter are there, each with its leaf, and nothing else.
func complete(feed Feed) error {
	rest := feed.Entries
	for n, leaf := range feed.Leaves {
		if !demanded[leaf.Kind] {
			continue
		}
		index := feed.From + int64(n)
		if len(rest) == 0 || rest[0].Index != index {
			return refuse("the %s statement at %d of the log is missing", leaf.Kind, index).
				WithHint("restore it from a backup: without it nobody can tell what is in force")
		}
		kind, err := rest[0].Envelope.Kind()
		if err != nil || string(kind) != leaf.Kind || string(rest[0].Envelope.ID()) != leaf.Subject {
			return refuse("the %s statement at %d of the log is not the one that was logged", leaf.Kind, index).Because(errors.Join(ErrMismatch, err))
		}
		rest = rest[1:]
	}
	if len(rest) > 0 {
		return refuse("there is a statement for %d of the log, which has none there", rest[0].Index)
	}
	return nil
}

// margin is how long before it is handed over a checkpoint may have been read.
const margin = 10 * time.Minute

// date notes at which time each entry certainly did not stand in the log yet: when the one before was seen.
func (k known) date(entries []proof.Entry, now time.Time) []proof.Entry {
	seen := k.followed
	if seen.After(now) { // the clock was ahead
		seen = now
	}
	dated := make([]proof.Entry, len(entries))
	for n, e := range entries {
		dated[n] = proof.Entry{Index: e.Index, Envelope: e.Envelope}
		if k.state != nil {
			dated[n].NotBefore = max(0, seen.Add(-margin).UnixMicro())
		}
	}
	return dated
}

// checkHead checks that the log's key signed a checkpoint of exactly this head.
func checkHead(s *proof.State, checkpoint []byte, head audit.Head, memory *proof.Memory) error {
	signed, err := s.OpenCheckpoint(checkpoint, proof.End, memory)
	if err != nil {
		return err
	}
	if signed.Size != head.Size {
		return brevet.Errorf(brevet.Conflict, "the checkpoint is of %d events, and %d are there", signed.Size, head.Size)
	}
	if signed.Root != head.Root() {
		return refuse("the log of %d events is not the one that the issuer followed: it was changed, cut or put back", head.Size).
			Because(ErrMismatch).WithHint("nothing is given until it is; restore the newest backup of the database")
	}
	return nil
}

// page is a feed that holds, on its way into the state.
type page struct {
	Feed
	kept
	state *state
}

const (
	// keptGrants is how long after their end grants are remembered.
	keptGrants = 24 * time.Hour
	// tidying is how often older ones are looked for.
	tidying = time.Minute
)

// coming returns what the leaves say of requests and approvals. Later leaves of the same subject
// change nothing.
func (p *page) coming() coming {
	c := coming{}
	for n, leaf := range p.Leaves {
		kind := statement.Kind(leaf.Kind)
		if kind != statement.KindRequest && kind != statement.KindApproval && kind != statement.KindIntent || bytesOf(leaf.Subject) == nil {
			continue
		}
		id, index := statement.ID(leaf.Subject), p.From+int64(n)
		if c[id] == nil {
			c[id] = &place{index: nowhere, spent: nowhere}
		}
		switch at := c[id]; {
		case kind == statement.KindIntent && at.spent == nowhere:
			at.spent, at.body = index, slices.Clone(leaf.Body[:])
		case kind != statement.KindIntent && at.index == nowhere:
			at.index = index
		}
	}
	return c
}

func (p *page) write(ctx context.Context, tx *sql.Tx) error {
	for id, at := range p.coming() {
		if err := at.write(ctx, tx, id); err != nil {
			return err
		}
	}
	for _, e := range p.entries {
		if err := p.entry(ctx, tx, e); err != nil {
			return err
		}
	}
	edge, err := p.head.MarshalBinary()
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "update issuer set edge = $1, checkpoint = $2, followed = $3, forgotten = $4 where id = 1",
		edge, p.checkpoint, p.followed.UnixMicro(), p.forgotten); err != nil {
		return err
	}
	if p.followed.Sub(p.state.tidied) < tidying && !p.followed.Before(p.state.tidied) {
		return nil
	}
	_, err = tx.ExecContext(ctx, "delete from grants where ends < $1", p.followed.Add(-keptGrants).UnixMicro())
	p.state.tidied = p.followed
	return err
}

// keptManifests is how many manifests are kept: as many as package proof has ready.
const keptManifests = 4

func (p *page) entry(ctx context.Context, tx *sql.Tx, e proof.Entry) error {
	envelope, err := e.Envelope.Marshal()
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "insert into entries (idx, envelope, not_before) values ($1, $2, $3)", e.Index, envelope, e.NotBefore); err != nil {
		return err
	}
	if kind, err := e.Envelope.Kind(); err != nil || kind != statement.KindCatalog {
		return err
	}
	c, err := statement.Open[statement.Catalog](e.Envelope)
	if err != nil {
		return err
	}
	manifest, given := p.Manifests[c.Manifest]
	if given {
		_, err = tx.ExecContext(ctx, "insert into manifests (digest, idx, body) values ($1, $2, $3) on conflict (digest) do update set idx = excluded.idx", c.Manifest, e.Index, manifest)
	} else { // it may be known of before, and is in force again
		_, err = tx.ExecContext(ctx, "update manifests set idx = $1 where digest = $2", e.Index, c.Manifest)
	}
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "delete from manifests where digest not in (select digest from manifests order by idx desc limit $1)", keptManifests)
	return err
}
