// The writer program writes to a store and says what it was told, for tests that kill it
// at a fault point, or from outside, and look at what it has left.
//
// Each line of its output is a word and the name of a change: "try" before, "done" or
// "failed" after. A change writes a token and a job, and its event has the name for a subject.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/audit"
	"github.com/brevet-pim/brevet/store"
	"github.com/brevet-pim/brevet/test/storetest"
)

func main() {
	database := flag.String("database", "", "path or URL of the database")
	name := flag.String("name", "", "beginning of the names of changes")
	writers := flag.Int("writers", 4, "how many write at once")
	changes := flag.Int("changes", 50, "how many changes each makes")
	room := flag.Uint64("room", 0, "bytes that files may have until the first change fails; 0: no limit")
	flag.Parse()
	if err := run(*database, *name, *writers, *changes, *room); err != nil {
		log.Fatal(err)
	}
}

func run(database, name string, writers, changes int, room uint64) error {
	signer, err := audit.NewSigner(storetest.Origin, storetest.Key())
	if err != nil {
		return err
	}
	s, err := store.Open(context.Background(), store.Config{Database: database, Log: signer})
	if err != nil {
		return err
	}
	defer s.Close()
	if room > 0 {
		if err := fill(s, name, room); err != nil {
			return err
		}
	}
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for n := range changes {
				write(s, fmt.Sprintf("%s.%d.%d", name, w, n))
			}
		})
	}
	all.Wait()
	return nil
}

// write makes one change, and counts it.
func write(s *store.Store, name string) error {
	if err := change(s, name); err != nil {
		return err
	}
	return s.Work(context.Background(), func(w *store.Work) error { _, err := w.Count("crash", time.Now(), time.Hour); return err })
}

// change makes one change, and says so before and after.
func change(s *store.Store, name string) error {
	say("try", name)
	now := time.Now()
	_, err := s.Change(context.Background(), func(tx *store.Tx) ([]brevet.Event, error) {
		if err := tx.AddToken(store.Token{Hash: name, Person: "bob", IssuedAt: now, ExpiresAt: now.Add(time.Hour)}); err != nil {
			return nil, err
		}
		if err := tx.Enqueue("crash", name, now); err != nil {
			return nil, err
		}
		return []brevet.Event{{Kind: "gateway.joined", Subject: name, At: now, Outcome: "success", Actor: brevet.Caller{Machine: "gw1"}}}, nil
	})
	if err == nil {
		say("done", name)
	} else {
		say("failed", name)
	}
	return err
}

// say writes a line in one call, so that lines of a process that dies are whole.
func say(word, name string) { os.Stdout.WriteString(word + " " + name + "\n") }

// fill writes with a limit on the length of files, as a full disk would set one, until a
// change fails, and takes the limit away.
func fill(s *store.Store, name string, room uint64) error {
	signal.Ignore(syscall.SIGXFSZ)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	before := limit.Cur
	limit.Cur = room
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	for n := 0; ; n++ {
		err := change(s, fmt.Sprintf("%s.fill.%d", name, n))
		if brevet.KindOf(err) == brevet.Unavailable {
			break
		}
		if err != nil {
			return fmt.Errorf("a full disk is told as: %w", err)
		}
	}
	limit.Cur = before
	return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit)
}
