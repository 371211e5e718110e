package show

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"unicode/utf16"

	"github.com/goccy/go-yaml"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/brevet-pim/brevet"
)

// Format is how a command prints its result.
type Format string

// The formats. JSON and YAML are the API's message and nothing else.
const (
	AsTable Format = "table"
	AsJSON  Format = "json"
	AsYAML  Format = "yaml"
)

// Formats lists the formats.
func Formats() []Format { return []Format{AsTable, AsJSON, AsYAML} }

// ParseFormat returns s as a format, or an Invalid error.
func ParseFormat(s string) (Format, error) {
	if f := Format(s); slices.Contains(Formats(), f) {
		return f, nil
	}
	return "", brevet.Errorf(brevet.Invalid, "there is no output %s", brevet.Quote(s)).WithHint("--output is table, json or yaml")
}

// Message prints m in JSON or YAML. Characters that a terminal would act on are escaped, which
// in JSON leaves the value as it is.
func Message(w io.Writer, f Format, m proto.Message) error {
	compact, err := protojson.Marshal(m)
	if err != nil {
		return fmt.Errorf("write the message as JSON: %w", err)
	}
	compact = withEmptyLists(compact, m)
	if f == AsYAML {
		b, err := yaml.JSONToYAML(compact)
		if err != nil {
			return fmt.Errorf("write the message as YAML: %w", err)
		}
		_, err = io.WriteString(w, "---\n"+Lines(string(b)))
		return err
	}
	var b bytes.Buffer
	// Indent also takes out the random blanks by which protojson keeps readers from comparing bytes.
	if err := json.Indent(&b, compact, "", "  "); err != nil {
		return fmt.Errorf("indent the message: %w", err)
	}
	_, err = w.Write(append(escapeJSON(b.Bytes()), '\n'))
	return err
}

// withEmptyLists adds m's own lists that are empty to its JSON, which protojson leaves out: a script that
// walks through a list need not know that there may be none.
func withEmptyLists(object []byte, m proto.Message) []byte {
	message := m.ProtoReflect()
	fields := message.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if !f.IsList() || message.Has(f) {
			continue
		}
		object = bytes.TrimSuffix(object, []byte("}"))
		if len(object) > 1 { // more than the brace
			object = append(object, ',')
		}
		object = fmt.Appendf(object, "%q:[]}", f.JSONName())
	}
	return object
}

// MessageLine prints m as JSON on one line, for streams. In YAML each message of one is a document of its own: Message.
func MessageLine(w io.Writer, m proto.Message) error {
	b, err := protojson.Marshal(m)
	if err != nil {
		return fmt.Errorf("write the message as JSON: %w", err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, b); err != nil {
		return fmt.Errorf("compact the message: %w", err)
	}
	_, err = w.Write(append(escapeJSON(compact.Bytes()), '\n'))
	return err
}

// escapeJSON writes odd characters as \u escapes. In JSON they stand in strings only, since
// whatever stands between strings is ASCII.
func escapeJSON(b []byte) []byte {
	if bytes.IndexFunc(b, oddInJSON) < 0 {
		return b
	}
	var out []byte
	for _, r := range string(b) {
		if !oddInJSON(r) {
			out = append(out, string(r)...)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			out = fmt.Appendf(out, `\u%04x`, unit)
		}
	}
	return out
}

func oddInJSON(r rune) bool { return r != '\n' && odd(r) }
