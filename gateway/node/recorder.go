package node

import (
	"context"
	"math"
	"sync"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/record"
	"github.com/brevet-pim/brevet/statement"
)

// recorder seals each recording to the recorders of the roster as it stands when the session
// begins. Who can open recordings is thus never the control plane's to say.
type recorder struct {
	state func() *proof.State
	sink  func(brevet.SessionID) (record.Sink, error)
	make  func([]statement.Key, func(brevet.SessionID) (record.Sink, error)) (*record.Recorder, error)

	mu      sync.Mutex // guards what follows
	roster  statement.ID
	current *record.Recorder
}

// Begin implements gateway.Recorder.
func (r *recorder) Begin(ctx context.Context, s brevet.Session, t record.Terminal) (*record.Writer, error) {
	current, err := r.latest()
	if err != nil {
		return nil, err
	}
	return current.Begin(ctx, s, t)
}

func (r *recorder) latest() (*record.Recorder, error) {
	state := r.state()
	if state == nil {
		return nil, brevet.Errorf(brevet.Unavailable, "the roster was not shown to this gateway yet")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	id, _ := state.Roster.Head()
	if r.current != nil && id == r.roster {
		return r.current, nil
	}
	seals := sealKeys(state.Roster)
	if len(seals) == 0 {
		return nil, brevet.Errorf(brevet.Unavailable, "the roster has no recorder, so nobody could open a recording").
			WithHint("an administrator adds one: brevet roster")
	}
	made, err := r.make(seals, r.sink)
	if err != nil {
		return nil, err
	}
	r.roster, r.current = id, made
	return made, nil
}

// never is a place in the log later than all.
const never = math.MaxInt64

func sealKeys(roster *proof.Roster) []statement.Key {
	var keys []statement.Key
	for _, m := range roster.Machines(statement.MachineRecorder, never) {
		for _, k := range m.Keys {
			if k.Use == statement.KeySeal {
				keys = append(keys, k.Key)
			}
		}
	}
	return keys
}
