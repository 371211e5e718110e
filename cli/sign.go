package cli

import (
	"context"
	"strings"

	"github.com/brevet-pim/brevet/statement"
)

// signed is a statement as it is sent.
type signed struct {
	statement.Envelope
	bytes []byte
}

// sign makes a statement of the payload with one signature.
func sign(ctx context.Context, p statement.Payload, by statement.Signer) (signed, error) {
	envelope, err := statement.New(ctx, p, by)
	if err != nil {
		return signed{}, err
	}
	b, err := envelope.Marshal()
	return signed{envelope, b}, err
}

// spaced shows the first characters of a hex digest in groups that people can compare.
func spaced(id string, groups int) string {
	var parts []string
	for len(id) >= 4 && len(parts) < groups {
		parts = append(parts, id[:4])
		id = id[4:]
	}
	return strings.Join(parts, " ")
}
