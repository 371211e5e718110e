// Package model_test makes random moves on a real control plane (spine, store, issuer, real signatures):
// people ask, agree, refuse, revoke, are suspended and come back, catalogs and keys change, clocks go
// forward and back, the process stops and dies, and all of it at the same time or in the middle of
// each other. After each move everything is held against a model: what a reader makes of the log who
// knows the rules as people would tell them (ledger_test.go), and what a gateway makes of proofs.
//
// A failure prints the seed, and the shortest list of moves that still fails. Longer runs:
//
//	go test ./test/model -run TestModelOnSQLite -model.seed 7 -model.lives 200 -model.steps 80 -timeout 30m
package model_test

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/brevet-pim/brevet/test/testenv"
)

var (
	seed  = flag.Uint64("model.seed", 0, "seed of the first life; the next ones count on from it. 0 takes another one each time")
	lives = flag.Int("model.lives", 8, "how many organisations live")
	steps = flag.Int("model.steps", 40, "how many moves are made in each")
)

// mostReplays bounds how often a failing list of moves is tried in parts.
const mostReplays = 80

// TestModelOnSQLite lives in a bubble, where waiting costs no time.
func TestModelOnSQLite(t *testing.T) {
	play := func(t *testing.T, moves []move, log io.Writer) (failed error) {
		synctest.Test(t, func(t *testing.T) { failed = live(t, filepath.Join(t.TempDir(), "brevet.db"), true, moves, log) })
		return failed
	}
	models(t, *lives, *steps, play)
}

// TestModelOnPostgreSQL is shorter: a database of its own process does not live in a bubble.
func TestModelOnPostgreSQL(t *testing.T) {
	play := func(t *testing.T, moves []move, log io.Writer) error {
		return live(t, testenv.Postgres(t), false, moves, log)
	}
	models(t, max(1, *lives/8), *steps, play)
}

// models lives so many lives, each of its own seed.
func models(t *testing.T, lives, steps int, play func(*testing.T, []move, io.Writer) error) {
	first := *seed
	if first == 0 {
		first = uint64(time.Now().UnixNano())
	}
	for i := range lives {
		moves := draw(rand.New(rand.NewPCG(first+uint64(i), 0)), steps)
		failed := play(t, moves, io.Discard)
		if failed == nil {
			continue
		}
		moves = shrink(moves, func(some []move) bool { return play(t, some, io.Discard) != nil })
		var log strings.Builder
		if again := play(t, moves, &log); again != nil {
			failed = again
		}
		t.Fatalf("-model.seed %d -model.lives 1 -model.steps %d: %v\nthe moves:\n%s\nthe log of the last try:\n%s", first+uint64(i), steps, failed, list(moves), log.String())
	}
}

// live makes the moves in a new organisation, and returns the first thing that is wrong.
func live(t *testing.T, database string, bubble bool, moves []move, log io.Writer) error {
	w := newWorld(t, database, bubble, slog.New(slog.NewTextHandler(log, nil)))
	defer w.close()
	if err := w.check(); err != nil {
		return fmt.Errorf("at the beginning: %w", err)
	}
	for i, m := range moves {
		fmt.Fprintf(log, "--- %d: %s\n", i+1, m)
		err := w.play(m)
		w.quiet()
		if broken := w.check(); broken != nil {
			err = broken
		}
		if err != nil {
			return fmt.Errorf("move %d, %s: %w", i+1, m, err)
		}
	}
	if err := w.checkRest(); err != nil {
		return fmt.Errorf("at the end: %w", err)
	}
	return nil
}

// shrink leaves out moves for as long as the rest still fails.
func shrink(moves []move, fails func([]move) bool) []move {
	replays := 0
	for part := len(moves) / 2; part > 0; part /= 2 {
		for from := 0; from+part <= len(moves) && replays < mostReplays; {
			some := append(append([]move{}, moves[:from]...), moves[from+part:]...)
			if replays++; fails(some) {
				moves = some
			} else {
				from += part
			}
		}
	}
	return moves
}

func list(moves []move) string {
	var b strings.Builder
	for i, m := range moves {
		fmt.Fprintf(&b, "%3d  %s\n", i+1, m)
	}
	return b.String()
}
