package api

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// strictJSON is Connect's JSON codec, but for one thing: a field that the message does not
// have is refused. A misspelt field of a call that gives or takes privilege must not be
// passed over. (A field given twice is refused by protojson itself.)
type strictJSON struct{ name string }

// The names that Connect knows its JSON codec by.
const (
	jsonName        = "json"
	jsonCharsetName = "json; charset=utf-8"
)

// Name returns the content type's subtype.
func (c strictJSON) Name() string { return c.name }

// Marshal writes the message.
func (c strictJSON) Marshal(message any) ([]byte, error) {
	m, ok := message.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("%T is no message", message)
	}
	return protojson.Marshal(m)
}

// Unmarshal reads the message.
func (c strictJSON) Unmarshal(b []byte, message any) error {
	m, ok := message.(proto.Message)
	if !ok {
		return fmt.Errorf("%T is no message", message)
	}
	if len(b) == 0 {
		return errors.New("it is empty; the least is {}")
	}
	if err := protojson.Unmarshal(b, m); err != nil {
		// The prefix "proto:" is followed by a blank that differs between builds.
		what := strings.TrimLeftFunc(strings.TrimPrefix(err.Error(), "proto:"), unicode.IsSpace)
		return fmt.Errorf("%s; docs/reference/api.md says where the fields are listed", what)
	}
	return nil
}
