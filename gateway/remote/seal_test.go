package remote_test

import (
	"testing"

	"github.com/brevet-pim/brevet/record"
	"github.com/brevet-pim/brevet/seal"
)

// sealing returns a recorder, without its sink, and what opens its recordings.
func sealing(t *testing.T) (*seal.Identity, *record.Recorder) {
	t.Helper()
	identity, err := seal.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return identity, &record.Recorder{Recipients: []seal.Recipient{identity.Recipient()}}
}
