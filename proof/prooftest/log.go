package prooftest

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"sync/atomic"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/audit"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
)

// Log is an audit log in memory, with all of its hashes.
type Log struct {
	t      testing.TB
	key    ed25519.PrivateKey
	signer *audit.Signer
	head   audit.Head
	hashes hashes
	rows   []row
}

type row struct {
	leaf      audit.Leaf
	salt      [audit.SaltSize]byte
	body      []byte
	statement []byte
}

// hashes are in the order of package tlog.
type hashes []tlog.Hash

func (h hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	list := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		list[i] = h[index]
	}
	return list, nil
}

func newLog(t testing.TB, origin string) *Log {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	signer, err := audit.NewSigner(origin, key)
	must(t, err)
	return &Log{t: t, key: key, signer: signer}
}

// Append makes the event the next leaf, and returns its index.
func (l *Log) Append(e brevet.Event) int64 {
	l.t.Helper()
	e.ID, e.Outcome = brevet.NewEventID(e.At), "success"
	if e.Subject == "" {
		e.Subject = string(e.ID)
	}
	body, err := audit.Record(e)
	must(l.t, err)
	r := row{body: body, statement: e.Statement}
	rand.Read(r.salt[:])
	r.leaf = audit.Leaf{Kind: e.Kind, Subject: e.Subject, Body: audit.BodyHash(r.salt, body)}
	l.rows = append(l.rows, r)
	head, completed := l.head.Append(r.leaf.Hash())
	l.head, l.hashes = head, append(l.hashes, completed...)
	return head.Size - 1
}

// Size returns how many leaves there are.
func (l *Log) Size() int64 { return l.head.Size }

// Leaves returns the leaves from an index on.
func (l *Log) Leaves(from int64) []audit.Leaf {
	var leaves []audit.Leaf
	for _, r := range l.rows[from:] {
		leaves = append(leaves, r.leaf)
	}
	return leaves
}

// Checkpoint returns the signed checkpoint of all leaves.
func (l *Log) Checkpoint() []byte {
	return l.Sign(l.head)
}

// Sign signs a checkpoint of any head, as somebody could who has the log's key.
func (l *Log) Sign(h audit.Head) []byte {
	signed, err := l.signer.Sign(h)
	must(l.t, err)
	return signed
}

// Head returns the right edge.
func (l *Log) Head() audit.Head { return l.head }

// Body returns the salt and the body of a leaf.
func (l *Log) Body(index int64) (salt, body []byte) {
	r := l.rows[index]
	return r.salt[:], r.body
}

// Record returns the statement at the index with the proof of its place.
func (l *Log) Record(index int64) proof.Record {
	l.t.Helper()
	r := l.rows[index]
	e, err := statement.Parse(r.statement)
	must(l.t, err)
	record := proof.Record{Index: index, Body: hex.EncodeToString(r.leaf.Body[:]), Proof: l.Inclusion(index), Statement: e}
	if r.leaf.Kind == string(statement.KindIntent) {
		record.Salt, record.Record = l.Body(index)
	}
	return record
}

// Inclusion returns the proof of a leaf's place in the whole log.
func (l *Log) Inclusion(index int64) [][]byte {
	l.t.Helper()
	list, err := audit.Inclusion(l.head.Size, index, l.hashes)
	must(l.t, err)
	var all [][]byte
	for _, h := range list {
		all = append(all, h[:])
	}
	return all
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Signer returns what signs the log's checkpoints, for a store that goes on with it.
func (l *Log) Signer() *audit.Signer { return l.signer }

// Running is the memory of the server that runs now, whose log outlives it. Nil: none runs.
type Running struct{ atomic.Pointer[proof.Memory] }

// Told passes on to it what the log signed: see audit.Signer.Telling.
func (r *Running) Told(signed []byte, by ed25519.PublicKey, c audit.Checkpoint) {
	if memory := r.Load(); memory != nil {
		memory.SignedCheckpoint(signed, by, c)
	}
}
