package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/brevet-pim/brevet"
	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/cli/home"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
)

// latest is a place in the log after all that is known.
const latest = math.MaxInt64

// roster returns who holds which key, verified from the pinned root, and up to date. What was verified
// before is kept, so a server cannot show an older roster than it once did, nor another.
//
// The server is asked for what its log has after the last statement of the chain that is known:
// roster statements and revocations of people and keys, in the order of the log.
func (s *session) roster(ctx context.Context) (*proof.State, error) {
	known, err := readRoster(s.home)
	if err != nil {
		return nil, err
	}
	got, err := s.people.GetRoster(ctx, &brevetv1.GetRosterRequest{After: lastNumber(known)})
	if err != nil {
		return nil, err
	}
	all, err := join(known, got.GetStatements())
	if err != nil {
		return nil, err
	}
	state, err := found(all, statement.ID(s.profile.Root))
	if err != nil {
		return nil, err
	}
	if len(all) > len(known) {
		return state, writeRoster(s.home, all)
	}
	return state, nil
}

func readRoster(h *home.Home) ([]statement.Envelope, error) {
	b, err := h.Read(home.RosterFile)
	if brevet.KindOf(err) == brevet.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var known []statement.Envelope
	for line := range bytes.Lines(b) {
		e, err := statement.Parse(bytes.TrimSuffix(line, []byte("\n")))
		if err != nil {
			return nil, brevet.Errorf(brevet.Invalid, "%s is damaged", brevet.Quote(h.Path(home.RosterFile))).Because(err).
				WithHint("remove it; it is fetched and verified again")
		}
		known = append(known, e)
	}
	return known, nil
}

func writeRoster(h *home.Home, all []statement.Envelope) error {
	var b bytes.Buffer
	for _, e := range all {
		line, err := e.Marshal()
		if err != nil {
			return err
		}
		b.Write(append(line, '\n'))
	}
	return h.Write(home.RosterFile, b.Bytes())
}

// lastNumber returns the number of the last roster statement among those known.
func lastNumber(known []statement.Envelope) int64 {
	for _, e := range slices.Backward(known) {
		p, err := statement.OpenAny(e)
		if err != nil {
			continue
		}
		if placed, ok := p.(interface{ Place() statement.Link }); ok {
			return placed.Place().Number
		}
	}
	return 0
}

// join appends what is new to what is known.
func join(known []statement.Envelope, more [][]byte) ([]statement.Envelope, error) {
	have := map[statement.ID]bool{}
	for _, e := range known {
		have[e.ID()] = true
	}
	all := slices.Clip(known)
	for _, b := range more {
		e, err := statement.Parse(b)
		if err != nil {
			return nil, err
		}
		if id := e.ID(); !have[id] {
			have[id] = true
			all = append(all, e)
		}
	}
	return all, nil
}

// found verifies a roster from its root. The places are those in the list: enough to order the
// statements of one chain, though not those of the log.
func found(all []statement.Envelope, root statement.ID) (*proof.State, error) {
	if len(all) == 0 {
		return nil, brevet.Errorf(brevet.Refused, "the server shows no roster")
	}
	entries := make([]proof.Entry, len(all))
	for i, e := range all {
		entries[i] = proof.Entry{Index: int64(i), Envelope: e}
	}
	state, err := proof.Found(entries[0], root)
	if err != nil {
		return nil, err
	}
	return state.Extend(nil, entries[1:]...)
}

// machineKeys returns the keys of the use that the roster's machines have now, with the machines' names.
func machineKeys(state *proof.State, machine, use statement.MachineUse) map[brevet.MachineID][]statement.Key {
	keys := map[brevet.MachineID][]statement.Key{}
	for _, m := range state.Roster.Machines(machine, latest) {
		for _, k := range m.Keys {
			if k.Use == use {
				keys[m.Name] = append(keys[m.Name], k.Key)
			}
		}
	}
	return keys
}

// verifiedRequest is a request as it was signed: what an approver sees is read from here.
type verifiedRequest struct {
	statement.Request
	id       brevet.RequestID
	envelope statement.Envelope
	presence brevet.Presence // that the signature shows, or that the gateway saw
	by       string          // who signed: the person, or the gateway that saw them
}

// verifyRequest checks that the server's view of a request carries the statement that its id is made of,
// signed by a key that may ask for that person, or by a gateway of ours.
func verifyRequest(state *proof.State, r *brevetv1.Request) (verifiedRequest, error) {
	envelope, err := statement.Parse(r.GetStatement())
	if err != nil {
		return verifiedRequest{}, err
	}
	request, err := statement.Open[statement.Request](envelope)
	if err != nil {
		return verifiedRequest{}, err
	}
	v := verifiedRequest{Request: request, id: envelope.RequestID(request), envelope: envelope}
	if string(v.id) != r.GetId() {
		return verifiedRequest{}, brevet.Errorf(brevet.Refused, "the server shows another statement under the id %s", brevet.Quote(r.GetId()))
	}
	if request.Org != state.Roster.Org() {
		return verifiedRequest{}, brevet.Errorf(brevet.Refused, "%s is of another organisation", short(string(v.id)))
	}
	if request.Via == brevet.ViaSSH {
		return v, v.verifyGateway(state)
	}
	return v, v.verifyPerson(state)
}

func (v *verifiedRequest) verifyPerson(state *proof.State) error {
	for _, sig := range v.envelope.Signatures {
		key, err := state.KeyFor(sig.Key, statement.UseRequest, latest, max(v.At, time.Now().UnixMicro()))
		if err != nil {
			return err
		}
		if key.Person != v.Person {
			return brevet.Errorf(brevet.Refused, "%s asks in the name of %s", key.Person, v.Person)
		}
		if v.presence, err = statement.Verify(v.envelope, sig, key.Public); err != nil {
			return err
		}
		v.by = string(key.Person)
	}
	return nil
}

func (v *verifiedRequest) verifyGateway(state *proof.State) error {
	for _, sig := range v.envelope.Signatures {
		machine, key, err := state.Roster.MachineOf(sig.Key, statement.KeyStatement, latest)
		if err != nil {
			return err
		}
		if machine.Use != statement.MachineGateway {
			return brevet.Errorf(brevet.Refused, "%s is not a gateway and cannot ask for %s", machine.Name, v.Person)
		}
		if _, err := statement.Verify(v.envelope, sig, key); err != nil {
			return err
		}
		v.by, v.presence = string(machine.Name), v.Seen.Presence
	}
	return nil
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// shortKey returns a fingerprint short enough for a line.
func shortKey(fingerprint string) string {
	if len(fingerprint) > 13 && strings.HasPrefix(fingerprint, agentPrefix) {
		return fingerprint[:12] + "…"
	}
	return fingerprint
}
