package issuer

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/audit"
	"github.com/brevet-pim/brevet/catalog"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/proof/prooftest"
	"github.com/brevet-pim/brevet/statement"
)

func TestFollowCosigns(t *testing.T) {
	w := newWorld(t, prooftest.Options{})
	w.Ask("bob", "web-root", nil)
	cosigned := w.follow()
	if by, _, err := w.State().Cosigned(cosigned, proof.End); err != nil || by != prooftest.IssuerName {
		t.Errorf("cosigned by %q: %v", by, err)
	}
	if again := w.follow(); len(again) == 0 { // nothing new: the same checkpoint once more
		t.Error("nothing was cosigned")
	}
	w.reopen()
	if size, _ := w.issuer.Size(t.Context()); size != w.Log.Size() {
		t.Errorf("after a restart it has followed %d of %d", size, w.Log.Size())
	}
}

// TestFeedsThatDoNotHold is checks 1 and 5 of TRUST §2: what the server may show of the log.
func TestFeedsThatDoNotHold(t *testing.T) {
	suspend := func(w *world) { w.Append(w.Revocation("alice", statement.RevokePerson, "bob")) }
	for _, tt := range []struct {
		name     string
		do       func(*world) Feed
		kind     brevet.Kind
		sentence string
		cause    error
		alarm    string
	}{
		{name: "from another place", kind: brevet.Conflict, sentence: "and was told what comes after 3", do: func(w *world) Feed {
			return Feed{From: 3, Leaves: w.Log.Leaves(3), Checkpoint: w.Log.Checkpoint()}
		}},
		{name: "a revocation held back", sentence: "the revocation statement at 8 of the log is missing", do: func(w *world) Feed {
			suspend(w)
			f := w.feed()
			f.Entries = nil
			return f
		}},
		{name: "the leaf of a revocation held back", sentence: "there is a statement for 8 of the log", do: func(w *world) Feed {
			suspend(w)
			f := w.feed()
			f.Leaves = nil
			return f
		}},
		{name: "leaf and body of a revocation held back", kind: brevet.Conflict, sentence: "the checkpoint is of 9 events, and 8 are there", do: func(w *world) Feed {
			suspend(w)
			f := w.feed()
			f.Leaves, f.Entries = nil, nil
			return f
		}},
		{name: "a revocation that hides as something else", sentence: "is not the one that the issuer followed", cause: ErrMismatch, alarm: "changed, cut or put back", do: func(w *world) Feed {
			suspend(w)
			f := w.feed()
			f.Leaves[0].Kind, f.Entries = "signin", nil
			return f
		}},
		{name: "another statement than was logged", sentence: "is not the one that was logged", cause: ErrMismatch, alarm: "changed, cut or put back", do: func(w *world) Feed {
			suspend(w)
			f := w.feed()
			f.Entries[0].Envelope = w.Revocation("alice", statement.RevokePerson, "frank")
			return f
		}},
		{name: "a statement of another kind", sentence: "is not the one that was logged", cause: ErrMismatch, do: func(w *world) Feed {
			suspend(w)
			f := w.feed()
			f.Entries[0].Envelope = w.Ask("bob", "web-root", nil).Envelope
			return f
		}},
		{name: "a statement without a leaf", sentence: "there is a statement for 10 of the log", do: func(w *world) Feed {
			suspend(w)
			f := w.feed()
			f.Entries = append(f.Entries, proof.Pending(w.Revocation("alice", statement.RevokePerson, "frank"), 10))
			return f
		}},
		{name: "a log that was rewritten", sentence: "is not the one that the issuer followed", cause: ErrMismatch, alarm: "changed, cut or put back", do: func(w *world) Feed {
			w.Ask("bob", "web-root", nil)
			f := w.feed()
			head := w.Log.Head()
			head.Edge = slices.Clone(head.Edge)
			head.Edge[0] = tlog.RecordHash([]byte("another past"))
			f.Checkpoint = w.Log.Sign(head)
			return f
		}},
		{name: "a log that was cut", kind: brevet.Conflict, sentence: "the checkpoint is of 2 events", do: func(w *world) Feed {
			head, err := audit.Replay(audit.Head{}, w.Log.Leaves(0)[:2])
			if err != nil {
				w.T.Fatal(err)
			}
			f := w.feed()
			f.Checkpoint = w.Log.Sign(head)
			return f
		}},
		{name: "a checkpoint that nobody signed", sentence: "the log's checkpoint", do: func(w *world) Feed {
			f := w.feed()
			f.Checkpoint = []byte(strings.Replace(string(f.Checkpoint), "— brevet.test/log ", "— brevet.test/log A", 1))
			return f
		}},
		{name: "a checkpoint of another log's key", sentence: "the checkpoint is not signed by", do: func(w *world) Feed {
			f := w.feed()
			f.Checkpoint = prooftest.New(w.T, prooftest.Options{}).Log.Sign(w.Log.Head())
			return f
		}},
		{name: "a leaf that two could be", kind: brevet.Invalid, sentence: "is not the subject of an event", do: func(w *world) Feed {
			f := w.feed()
			f.Leaves = append(f.Leaves, audit.Leaf{Kind: "signin", Subject: "a\nb"})
			return f
		}},
		{name: "a second roster statement with one number", sentence: "number 7 is taken by another statement", cause: proof.ErrFork, alarm: "a second statement with the number", do: func(w *world) Feed {
			link := w.Link()
			link.Number--
			w.Append(w.Sign(statement.Retire{Header: w.Header(time.Hour), Link: link, Person: "bob", Key: prooftest.Fingerprint(w.T, w.Keys["bob"].Key()), Reason: "fork"}, w.Admins()...))
			return w.feed()
		}},
		{name: "a roster that follows another", sentence: "but the chain ends with", cause: proof.ErrFork, alarm: "a second statement with the number", do: func(w *world) Feed {
			link := w.Link()
			link.Previous = w.Root
			w.Append(w.Sign(statement.Retire{Header: w.Header(time.Hour), Link: link, Person: "bob", Key: prooftest.Fingerprint(w.T, w.Keys["bob"].Key()), Reason: "fork"}, w.Admins()...))
			return w.feed()
		}},
		{name: "a second catalog with one number", sentence: "number 1 is taken by another statement", cause: proof.ErrFork, alarm: "a second statement with the number", do: func(w *world) Feed {
			_, digest, _ := catalog.Manifest(catalog.Normalise(w.Catalog))
			w.Append(w.Sign(statement.Catalog{Header: w.Header(time.Hour), Link: statement.Link{Number: 1}, Manifest: digest}, w.Admins()...))
			return w.feed()
		}},
		{name: "a roster statement that no administrator signed", sentence: "0 of the 1 persons who must sign have signed", do: func(w *world) Feed {
			_, key := prooftest.NewKey(w.T)
			w.Append(w.Sign(statement.Enrol{Header: w.Header(time.Hour), Link: w.Link(), Enrolments: []statement.Enrolment{w.Enrolment("bob", "", key, statement.UseApprove)}}, w.Keys["bob"]))
			return w.feed()
		}},
		{name: "a catalog that no administrator signed", sentence: "0 of the 1 persons who must sign have signed", do: func(w *world) Feed {
			_, digest, _ := catalog.Manifest(catalog.Normalise(w.Catalog))
			w.Append(w.Sign(statement.Catalog{Header: w.Header(time.Hour), Link: w.CatalogLink(), Manifest: digest}, w.Keys["bob"]))
			return w.feed()
		}},
		{name: "a catalog without its manifest", sentence: "the manifest of catalog 2 is missing", do: func(w *world) Feed {
			c := prooftest.Catalog()
			c.Roles[0].Description = "changed"
			w.SetCatalog(c)
			f := w.feed()
			f.Manifests = nil
			return f
		}},
		{name: "a catalog with another manifest", sentence: "is not the one that was signed", do: func(w *world) Feed {
			c := prooftest.Catalog()
			c.Roles[0].Description = "changed"
			w.SetCatalog(c)
			f := w.feed()
			signed, err := statement.Open[statement.Catalog](f.Entries[0].Envelope)
			if err != nil {
				w.T.Fatal(err)
			}
			old, _, _ := catalog.Manifest(catalog.Normalise(prooftest.Catalog()))
			f.Manifests = map[string][]byte{signed.Manifest: old}
			return f
		}},
		{name: "a revocation that nobody signed", sentence: "alice has not signed it", do: func(w *world) Feed {
			e := w.Revocation("alice", statement.RevokePerson, "bob")
			e.Signatures = w.Revocation("bob", statement.RevokePerson, "bob").Signatures
			w.Append(e)
			return w.feed()
		}},
		{name: "a key that was out of date when it came", sentence: "is out of date", do: func(w *world) Feed {
			// An administrator's key of a minute signs backwards, half an hour after its end.
			_, key := prooftest.NewKey(w.T)
			one := w.Enrolment("alice", "", key, statement.UseAdminister)
			one.Until = w.Now.Add(time.Minute).UnixMicro()
			w.Enrol(one)
			header := w.Header(24 * time.Hour)
			w.Now = w.Now.Add(30 * time.Minute)
			w.follow()
			w.Append(w.Sign(statement.Retire{Header: header, Link: w.Link(), Person: "bob", Key: prooftest.Fingerprint(w.T, w.Keys["bob"].Key()), Reason: "late"}, key))
			return w.feed()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, prooftest.Options{})
			w.T = t
			feed := tt.do(w)
			size, _ := w.issuer.Size(t.Context())
			if tt.kind == 0 {
				tt.kind = brevet.Refused
			}
			_, err := w.issuer.Follow(t.Context(), feed)
			refused(t, err, tt.kind, tt.sentence)
			if tt.cause != nil && !errors.Is(err, tt.cause) {
				t.Errorf("the cause is not %v", tt.cause)
			}
			if got := w.alarms.String(); tt.alarm != "" && !strings.Contains(got, tt.alarm) || tt.alarm == "" && tt.cause == nil && got != "" {
				t.Errorf("alarm %q, want %q", got, tt.alarm)
			}
			if after, _ := w.issuer.Size(t.Context()); after != size {
				t.Errorf("it went on from %d to %d", size, after)
			}
			w.reopen() // what it kept agrees with itself
		})
	}
}

func TestFirstFeedsThatDoNotHold(t *testing.T) {
	for _, tt := range []struct {
		name     string
		feed     func(*world) Feed
		sentence string
	}{
		{"an empty log", func(w *world) Feed { return Feed{Checkpoint: w.Log.Sign(audit.Head{})} }, "the log is empty"},
		{"a log without a root", func(w *world) Feed {
			leaves := []audit.Leaf{{Kind: "server.started", Subject: "srv"}}
			head, err := audit.Replay(audit.Head{}, leaves)
			if err != nil {
				w.T.Fatal(err)
			}
			return Feed{Leaves: leaves, Checkpoint: w.Log.Sign(head)}
		}, "the log does not begin with a root"},
		{"another organisation", func(w *world) Feed {
			other := prooftest.New(w.T, prooftest.Options{})
			return Feed{Leaves: other.Log.Leaves(0), Entries: other.Entries, Manifests: other.Manifests, Checkpoint: other.Log.Checkpoint()}
		}, "which was pinned"},
		{"a root that is no longer whole", func(w *world) Feed {
			f := Feed{Leaves: w.Log.Leaves(0)[:1], Entries: w.Entries[:1]}
			head, err := audit.Replay(audit.Head{}, f.Leaves)
			if err != nil {
				w.T.Fatal(err)
			}
			f.Checkpoint = w.Log.Sign(head)
			return f
		}, "no log of ours has a key for checkpoints"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newUnfollowed(t)
			_, err := w.issuer.Follow(t.Context(), tt.feed(w))
			refused(t, err, brevet.Refused, tt.sentence)
			_, err = w.issuer.Issuer.Prepare(t.Context(), &proof.Bundle{})
			refused(t, err, brevet.Unavailable, "has not followed the log yet")
			w.reopen()
			w.follow()
		})
	}
}
