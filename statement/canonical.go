package statement

import (
	"bytes"
	"encoding"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/brevet-pim/brevet"
)

// maxInteger is the largest integer that every JSON reader holds exactly: 2^53−1 (RFC 8785, appendix D).
const maxInteger = 1<<53 - 1

// Canonical returns v as JSON in the form of RFC 8785: no white space, members sorted,
// one spelling for every string and number. Equal values give equal bytes, so the bytes can
// be hashed and signed.
//
// The data model is narrower than JSON, so that nothing has two spellings: structs whose
// fields are all tagged and all written (an embedded struct's fields stand among its
// parent's), maps with string keys, slices, strings, booleans, integers within ±(2^53−1),
// and []byte as base64. A nil slice is [] and a nil map is {}: "none" is written one way,
// and null never. Floats, other numbers, nil pointers, text that is not UTF-8, and types
// with a JSON form of their own (time.Time, brevet.Secret) are Invalid.
func Canonical(v any) ([]byte, error) {
	e := encoder{out: make([]byte, 0, 1024)}
	if err := e.value(reflect.ValueOf(v)); err != nil {
		return nil, brevet.Errorf(brevet.Invalid, "this %T cannot be written in canonical form: %s", v, err).Because(err)
	}
	return e.out, nil
}

// Decode reads a T from canonical JSON of at most limit bytes. It writes the result anew and
// compares: that one comparison refuses missing fields, doubled ones, another order, null,
// other spellings of numbers and strings, white space and trailing bytes. Errors are Invalid.
func Decode[T any](b []byte, limit int) (T, error) {
	var v, none T
	if len(b) > limit {
		return none, brevet.Errorf(brevet.Invalid, "this is %d bytes long; %d is the most", len(b), limit)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return none, notOf[T](err)
	}
	again, err := Canonical(v)
	if err != nil {
		return none, brevet.Errorf(brevet.Invalid, "this %s holds what has no canonical form: %s", nameOf[T](), err).Because(err)
	}
	if !bytes.Equal(again, b) {
		if err := unknownField[T](b); err != nil {
			return none, notOf[T](err)
		}
		return none, brevet.Errorf(brevet.Invalid, "this %s is not in canonical form (RFC 8785): it differs from byte %d on", nameOf[T](), firstDifference(again, b))
	}
	return v, nil
}

func notOf[T any](err error) error {
	return brevet.Errorf(brevet.Invalid, "this is not the JSON of %s: %s", aNameOf[T](), quoteShort(err.Error())).Because(err)
}

// unknownField returns an error that names a field that a T does not have, or nil.
func unknownField[T any](b []byte) error {
	var v T
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode(&v)
}

func aNameOf[T any]() string {
	name := nameOf[T]()
	if strings.ContainsRune("aeiou", rune(name[0])) {
		return "an " + name
	}
	return "a " + name
}

func nameOf[T any]() string { return strings.ToLower(reflect.TypeFor[T]().Name()) }

func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// encoder writes one document. It remembers what the types are made of that it met, since a catalog
// repeats a few types thousands of times.
type encoder struct {
	out []byte
	met map[reflect.Type]plan
}

// planned are the types that are written all the time, and what they are made of.
var planned = plansOf(Envelope{}, Request{}, Approval{}, Intent{}, Grant{}, Status{}, Receipt{}, Revocation{})

func plansOf(values ...any) map[reflect.Type]plan {
	all := map[reflect.Type]plan{}
	var add func(t reflect.Type)
	add = func(t reflect.Type) {
		if _, known := all[t]; known {
			return
		}
		all[t] = newPlan(t)
		switch t.Kind() {
		case reflect.Slice, reflect.Map, reflect.Pointer:
			add(t.Elem())
		case reflect.Struct:
			for i := range t.NumField() {
				add(t.Field(i).Type)
			}
		}
	}
	for _, v := range values {
		add(reflect.TypeOf(v))
	}
	return all
}

// plan is how values of a type are written: the members of a struct, in order, or why they cannot be.
type plan struct {
	members []member
	err     error
}

func newPlan(t reflect.Type) plan {
	p := plan{err: checkPlain(t)}
	if p.err == nil && t.Kind() == reflect.Struct {
		p.members, p.err = membersOf(t)
	}
	return p
}

func (e *encoder) planOf(t reflect.Type) plan {
	if p, ok := planned[t]; ok {
		return p
	}
	if p, ok := e.met[t]; ok {
		return p
	}
	if e.met == nil {
		e.met = map[reflect.Type]plan{}
	}
	p := newPlan(t)
	e.met[t] = p
	return p
}

// member is a field of a struct: where it is and `"name":`.
type member struct {
	name  string
	index []int
	key   []byte
}

func (e *encoder) value(v reflect.Value) error {
	if !v.IsValid() {
		return fmt.Errorf("null has no place in canonical JSON")
	}
	p := e.planOf(v.Type())
	if p.err != nil {
		return p.err
	}
	switch v.Kind() {
	case reflect.String:
		return e.text(v.String())
	case reflect.Bool:
		e.out = strconv.AppendBool(e.out, v.Bool())
		return nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return e.integer(v.Int())
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			e.out = append(e.out, '"')
			e.out = base64.StdEncoding.AppendEncode(e.out, v.Bytes())
			e.out = append(e.out, '"')
			return nil
		}
		return e.list(v)
	case reflect.Map:
		return e.object(v)
	case reflect.Struct:
		return e.structure(v, p.members)
	case reflect.Pointer, reflect.Interface:
		return e.value(v.Elem()) // of nil: the invalid Value, refused above
	}
	return fmt.Errorf("%s has no place in canonical JSON", v.Type())
}

// checkPlain refuses types that encoding/json would write in a way of their own, since what
// is read back from that may differ from what is written here.
func checkPlain(t reflect.Type) error {
	if t.Implements(reflect.TypeFor[json.Marshaler]()) || t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
		return fmt.Errorf("%s has a JSON form of its own", t)
	}
	return nil
}

func (e *encoder) integer(i int64) error {
	if i > maxInteger || i < -maxInteger {
		return fmt.Errorf("integer %d is beyond ±(2^53−1)", i)
	}
	e.out = strconv.AppendInt(e.out, i, 10)
	return nil
}

func (e *encoder) list(v reflect.Value) error {
	e.out = append(e.out, '[')
	for i := range v.Len() {
		if i > 0 {
			e.out = append(e.out, ',')
		}
		if err := e.value(v.Index(i)); err != nil {
			return err
		}
	}
	e.out = append(e.out, ']')
	return nil
}

func (e *encoder) object(v reflect.Value) error {
	if v.Type().Key().Kind() != reflect.String {
		return fmt.Errorf("%s: keys must be strings", v.Type())
	}
	values := make(map[string]reflect.Value, v.Len())
	for k, value := range v.Seq2() {
		values[k.String()] = value
	}
	e.out = append(e.out, '{')
	for i, k := range slices.SortedFunc(maps.Keys(values), compareUTF16) {
		if i > 0 {
			e.out = append(e.out, ',')
		}
		if err := e.text(k); err != nil {
			return err
		}
		e.out = append(e.out, ':')
		if err := e.value(values[k]); err != nil {
			return fmt.Errorf("%s: %w", quoteShort(k), err)
		}
	}
	e.out = append(e.out, '}')
	return nil
}

func (e *encoder) structure(v reflect.Value, members []member) error {
	e.out = append(e.out, '{')
	for i, m := range members {
		if i > 0 {
			e.out = append(e.out, ',')
		}
		e.out = append(e.out, m.key...)
		if err := e.value(v.FieldByIndex(m.index)); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	e.out = append(e.out, '}')
	return nil
}

func membersOf(t reflect.Type) ([]member, error) {
	members, err := collectMembers(t, nil)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(members, func(a, b member) int { return compareUTF16(a.name, b.name) })
	for i := range members {
		if i > 0 && members[i].name == members[i-1].name {
			return nil, fmt.Errorf("%s has two fields named %q", t, members[i].name)
		}
		name := encoder{}
		if err := name.text(members[i].name); err != nil {
			return nil, err
		}
		members[i].key = append(name.out, ':')
	}
	return members, nil
}

func collectMembers(t reflect.Type, at []int) ([]member, error) {
	var members []member
	for i := range t.NumField() {
		f := t.Field(i)
		index := append(slices.Clip(at), i)
		name, tagged := f.Tag.Lookup("json")
		switch {
		case f.Anonymous && !tagged && f.Type.Kind() == reflect.Struct:
			inner, err := collectMembers(f.Type, index)
			if err != nil {
				return nil, err
			}
			members = append(members, inner...)
		case !tagged || !f.IsExported() || name == "" || name == "-" || strings.Contains(name, ","):
			// encoding/json would leave the field out, rename it or sometimes omit it.
			return nil, fmt.Errorf("field %s of %s must be exported and have a plain json name", f.Name, t)
		default:
			members = append(members, member{name: name, index: index})
		}
	}
	return members, nil
}

// compareUTF16 orders member names as RFC 8785 §3.2.3 says, by UTF-16 code units, which
// differs from the order of bytes for what lies beyond U+FFFF.
func compareUTF16(a, b string) int {
	if isASCII(a) && isASCII(b) {
		return strings.Compare(a, b)
	}
	return slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)))
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// text writes a string as RFC 8785 §3.2.2.2 says: only what must be escaped is.
func (e *encoder) text(s string) error {
	if !utf8.ValidString(s) {
		return fmt.Errorf("text %s is not UTF-8", quoteShort(s))
	}
	e.out = append(e.out, '"')
	start := 0
	for i := range len(s) {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		e.out = append(e.out, s[start:i]...)
		e.out = appendEscaped(e.out, c)
		start = i + 1
	}
	e.out = append(e.out, s[start:]...)
	e.out = append(e.out, '"')
	return nil
}

func appendEscaped(out []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(out, '\\', c)
	case '\b':
		return append(out, `\b`...)
	case '\t':
		return append(out, `\t`...)
	case '\n':
		return append(out, `\n`...)
	case '\f':
		return append(out, `\f`...)
	case '\r':
		return append(out, `\r`...)
	}
	return fmt.Appendf(out, `\u%04x`, c)
}
