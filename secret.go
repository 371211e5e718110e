package brevet

import (
	"encoding/json"
	"errors"
	"log/slog"
)

// Secret holds bytes that must not be seen: printing, logging and marshalling it shows
// a mark instead. Reveal is called at the one place that needs the bytes.
type Secret struct{ bytes []byte }

const redacted = "[secret]"

// NewSecret returns a Secret that holds b, which the caller must not keep.
func NewSecret(b []byte) Secret { return Secret{b} }

// Reveal returns the bytes.
func (s Secret) Reveal() []byte { return s.bytes }

// Erase overwrites the bytes with zeros.
func (s Secret) Erase() { clear(s.bytes) }

func (Secret) String() string       { return redacted }
func (Secret) GoString() string     { return redacted }
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON refuses: a secret is written by the code that revealed it, or not at all.
func (Secret) MarshalJSON() ([]byte, error) { return nil, errors.New("a secret is not marshalled") }

// MarshalText refuses, as MarshalJSON does.
func (Secret) MarshalText() ([]byte, error) { return nil, errors.New("a secret is not marshalled") }

var _ json.Marshaler = Secret{}
