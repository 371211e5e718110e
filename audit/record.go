package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/brevet-pim/brevet"
)

// MaxBody is the longest body of an event, in bytes. A longer detail is cut, and says so.
const MaxBody = 64 << 10

// The longest texts that a record takes over, in bytes; what is longer is cut and ends in "…".
const (
	maxMessage = 4096
	maxText    = 256
	maxCut     = 4096 // how much of a detail that is too long is kept
)

// Record returns the event's body: one line of JSON in the shape of OCSF, without the line
// end. What Brevet adds is under unmapped.brevet. Nothing in it can act on a terminal: every
// control, format and separator character is escaped, and invalid UTF-8 is replaced.
//
// An event of an unknown kind, without an id or a time after 1970, or whose detail cannot be
// marshalled (as a brevet.Secret cannot) is an Invalid error.
func Record(e brevet.Event) ([]byte, error) {
	d, err := NewDraft(e)
	return d.body, err
}

// Draft is a Record whose time may still change: whoever keeps the log sees to it that its events do not
// go back in time, and all else can be written before.
type Draft struct {
	body []byte
	at   time.Time // in the body
}

// NewDraft returns the draft of the event's Record. It fails as Record does.
func NewDraft(e brevet.Event) (Draft, error) {
	body, err := write(e)
	return Draft{body, e.At.UTC().Truncate(time.Microsecond)}, err
}

// At returns the Record of the event as of this time, which must not be before the event's own.
func (d Draft) At(t time.Time) ([]byte, error) {
	if t.Equal(d.at) {
		return d.body, nil
	}
	before, after, found := bytes.Cut(d.body, appendTime(nil, d.at))
	if !found || t.Before(d.at) || t.UTC().Year() > lastYear {
		return nil, brevet.Errorf(brevet.Invalid, "an event of %s cannot be one of %s", d.at.Format(time.RFC3339), t.Format(time.RFC3339))
	}
	body := make([]byte, 0, len(d.body)+8)
	return append(appendTime(append(body, before...), t), after...), nil
}

// appendTime appends the two fields that hold a record's time. Nothing before them in a record is of the
// event's own words, so the first place where they stand is theirs.
func appendTime(b []byte, t time.Time) []byte {
	t = t.UTC().Truncate(time.Microsecond)
	b = strconv.AppendInt(append(b, `"time":`...), t.UnixMilli(), 10)
	return append(t.AppendFormat(append(b, `,"time_dt":"`...), timeLayout), '"')
}

// lastYear is where RFC 3339 ends.
const lastYear = 9999

func write(e brevet.Event) ([]byte, error) {
	kind, ok := KindOf(e.Kind)
	switch {
	case !ok:
		return nil, brevet.Errorf(brevet.Invalid, "%s is not a kind of event", brevet.Quote(clip(e.Kind, MaxKind)))
	case e.ID == "":
		return nil, brevet.Errorf(brevet.Invalid, "a %s event has no id", e.Kind)
	case e.At.UnixMicro() <= 0 || e.At.UTC().Year() > lastYear:
		return nil, brevet.Errorf(brevet.Invalid, "a %s event has no time, or one that no clock shows", e.Kind)
	case e.Outcome != "success" && e.Outcome != "failure":
		return nil, brevet.Errorf(brevet.Invalid, "a %s event has the outcome %s: success or failure", e.Kind, brevet.Quote(clip(e.Outcome, maxText)))
	case kind.Statement != (len(e.Statement) > 0):
		return nil, brevet.Errorf(brevet.Invalid, "a %s event with a statement of %d bytes", e.Kind, len(e.Statement))
	}
	detail, err := marshalDetail(e.Detail)
	if err != nil {
		return nil, brevet.Errorf(brevet.Invalid, "the detail of a %s event cannot be written", e.Kind).Because(err)
	}
	body, err := marshalBody(newRecord(kind, e, detail))
	if err == nil && len(body) > MaxBody {
		body, err = marshalBody(newRecord(kind, e, cutDetail(detail)))
	}
	if err != nil {
		return nil, fmt.Errorf("write a %s event: %w", e.Kind, err)
	}
	return body, nil
}

// record is one event as OCSF has it. The order of fields is the order in the log, and is
// kept: two runs give the same bytes.
type record struct {
	ActivityID   int          `json:"activity_id"`
	ActivityName string       `json:"activity_name"`
	CategoryUID  int          `json:"category_uid"`
	ClassUID     Class        `json:"class_uid"`
	ClassName    string       `json:"class_name"`
	TypeUID      int          `json:"type_uid"`
	SeverityID   Severity     `json:"severity_id"`
	Time         int64        `json:"time"`    // milliseconds
	TimeDT       string       `json:"time_dt"` // RFC 3339, microseconds, UTC
	StatusID     int          `json:"status_id"`
	Status       string       `json:"status"`
	Message      string       `json:"message,omitempty"`
	Metadata     metadata     `json:"metadata"`
	Actor        actor        `json:"actor"`
	User         *user        `json:"user,omitempty"`
	Privileges   []string     `json:"privileges,omitempty"`
	Entity       *entity      `json:"entity,omitempty"`
	API          *api         `json:"api,omitempty"`
	App          *product     `json:"app,omitempty"`
	FindingInfo  *findingInfo `json:"finding_info,omitempty"`
	SrcEndpoint  *endpoint    `json:"src_endpoint,omitempty"`
	Unmapped     unmapped     `json:"unmapped"`
}

type metadata struct {
	Version        string   `json:"version"`
	Profiles       []string `json:"profiles"`
	Product        product  `json:"product"`
	UID            string   `json:"uid"`
	CorrelationUID string   `json:"correlation_uid,omitempty"`
}

type product struct {
	Name       string `json:"name"`
	VendorName string `json:"vendor_name"`
}

type actor struct {
	User    *user    `json:"user,omitempty"`
	Session *session `json:"session,omitempty"`
}

type user struct {
	Name          string `json:"name"`
	UID           string `json:"uid"`
	TypeID        int    `json:"type_id"`
	CredentialUID string `json:"credential_uid,omitempty"` // fingerprint of the key that proved it
}

type session struct {
	UID string `json:"uid"`
}

type entity struct {
	UID  string `json:"uid"`
	Type string `json:"type"`
}

type api struct {
	Operation string `json:"operation"`
}

type findingInfo struct {
	UID   string `json:"uid"`
	Title string `json:"title"`
}

type endpoint struct {
	IP string `json:"ip"`
}

type unmapped struct {
	Brevet ours `json:"brevet"`
}

// ours is what only Brevet knows of an event.
type ours struct {
	Schema   int             `json:"schema"`
	Kind     string          `json:"kind"`
	Subject  string          `json:"subject"`
	Via      string          `json:"via,omitempty"`
	Request  string          `json:"request,omitempty"`
	Grant    string          `json:"grant,omitempty"`
	Session  string          `json:"session,omitempty"`
	Envelope string          `json:"envelope_sha256,omitempty"` // of the statement's bytes as they are kept
	Detail   json.RawMessage `json:"detail,omitempty"`
}

// OCSF's types of user.
const (
	typeUser   = 1
	typeSystem = 3
)

// timeLayout is RFC 3339 in UTC with microseconds.
const timeLayout = "2006-01-02T15:04:05.000000Z"

func newRecord(kind Kind, e brevet.Event, detail json.RawMessage) record {
	f := FieldsOf(e)
	r := record{
		ActivityID: kind.Activity, ActivityName: kind.Doing,
		CategoryUID: int(kind.Class) / 1000, ClassUID: kind.Class, ClassName: kind.Class.String(),
		TypeUID:    int(kind.Class)*100 + kind.Activity,
		SeverityID: kind.Severity,
		Time:       f.At.UnixMilli(), TimeDT: f.At.Format(timeLayout),
		StatusID: 1, Status: "Success",
		Message: clip(e.Message, maxMessage),
		Metadata: metadata{
			Version: OCSF, Profiles: []string{"datetime"},
			Product: product{Name: "Brevet", VendorName: "Brevet"},
			UID:     string(f.ID), CorrelationUID: clip(e.CorrelationID, maxText),
		},
		Unmapped: unmapped{ours{
			Schema: Schema, Kind: kind.Name, Subject: e.Subject, Via: text[string](e.Actor.Via),
			Request: string(f.Request), Grant: string(f.Grant), Session: string(f.Session),
			Detail: detail,
		}},
	}
	if e.Outcome == "failure" {
		r.StatusID, r.Status = 2, "Failure"
	}
	if len(e.Statement) > 0 {
		r.Unmapped.Brevet.Envelope = EnvelopeHash(e.Statement)
	}
	if f.Actor != "" {
		r.Actor.User = newUser(f.Actor, e.Actor.Machine != "")
		r.Actor.User.CredentialUID = text[string](e.Actor.Key)
	}
	if f.Session != "" {
		r.Actor.Session = &session{UID: string(f.Session)}
	}
	if e.Actor.Source.IsValid() {
		r.SrcEndpoint = &endpoint{IP: text[string](e.Actor.Source.String())}
	}
	addClass(&r, kind, e, f)
	return r
}

// addClass adds what OCSF asks for in an event of the kind's class.
func addClass(r *record, kind Kind, e brevet.Event, f Fields) {
	if f.About != "" {
		r.User = newUser(string(f.About), false)
	} else if r.Actor.User != nil {
		r.User = newUser(r.Actor.User.Name, e.Actor.Machine != "")
	}
	switch kind.Class {
	case UserAccess:
		if f.Grant != "" {
			r.Privileges = []string{string(f.Grant)}
		} else if f.Request != "" {
			r.Privileges = []string{string(f.Request)}
		}
	case EntityManagement:
		r.Entity = &entity{UID: e.Subject, Type: kind.Name}
	case APIActivity:
		r.API = &api{Operation: kind.Name}
	case ApplicationLifecycle:
		r.App = &product{Name: "Brevet", VendorName: "Brevet"}
	case DetectionFinding:
		r.FindingInfo = &findingInfo{UID: string(f.ID), Title: kind.Meaning}
	}
}

func newUser(name string, machine bool) *user {
	if machine {
		return &user{Name: name, UID: name, TypeID: typeSystem}
	}
	return &user{Name: name, UID: name, TypeID: typeUser}
}

// EnvelopeHash returns the SHA-256, in hex, of a statement's envelope as it is kept. The
// body of the event carries it, so the log holds the envelope's signatures as well.
func EnvelopeHash(envelope []byte) string {
	sum := sha256.Sum256(envelope)
	return hex.EncodeToString(sum[:])
}

// EnvelopeHashOf returns the hash that an event's body gives for its statement, or "".
func EnvelopeHashOf(body []byte) string {
	var r struct {
		Unmapped struct {
			Brevet struct {
				Envelope string `json:"envelope_sha256"`
			} `json:"brevet"`
		} `json:"unmapped"`
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return ""
	}
	return r.Unmapped.Brevet.Envelope
}

func marshalDetail(detail any) (json.RawMessage, error) {
	if detail == nil {
		return nil, nil
	}
	return json.Marshal(detail)
}

// cutDetail stands for a detail that was too long: how long it was, its digest and its beginning.
func cutDetail(detail json.RawMessage) json.RawMessage {
	sum := sha256.Sum256(detail)
	cut, err := json.Marshal(struct {
		Cut    bool   `json:"cut"`
		Bytes  int    `json:"bytes"`
		SHA256 string `json:"sha256"`
		Begins string `json:"begins"`
	}{true, len(detail), hex.EncodeToString(sum[:]), clip(string(detail), maxCut)})
	if err != nil {
		return json.RawMessage(`{"cut":true}`) // strings and numbers always marshal
	}
	return cut
}

func marshalBody(r record) ([]byte, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	return inert(b), nil
}

// inert returns JSON in which every character that could act on a terminal, hide text or
// turn its direction is written as an escape, and every byte that is not UTF-8 as the
// replacement character. Such characters stand only inside JSON's strings, where an escape
// means the same.
func inert(b []byte) []byte {
	if harmless(b) {
		return b
	}
	var out bytes.Buffer
	out.Grow(len(b) + len(b)/8)
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && n == 1:
			out.WriteString(`\ufffd`)
		case acts(r):
			writeEscape(&out, r)
		default:
			out.Write(b[:n])
		}
		b = b[n:]
	}
	return out.Bytes()
}

func harmless(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf || c == 0x7f {
			return false
		}
	}
	return true
}

// acts reports whether r is a control, format, separator, private or unassigned character,
// or a combining mark of which a reader may see nothing.
func acts(r rune) bool {
	return r >= 0x7f && (!unicode.IsPrint(r) || unicode.Is(unicode.Variation_Selector, r))
}

func writeEscape(out *bytes.Buffer, r rune) {
	if high, low := utf16.EncodeRune(r); high != unicode.ReplacementChar {
		writeUnit(out, high)
		writeUnit(out, low)
		return
	}
	writeUnit(out, r)
}

func writeUnit(out *bytes.Buffer, unit rune) {
	digits := strconv.FormatUint(uint64(unit), 16)
	out.WriteString(`\u0000`[:6-len(digits)])
	out.WriteString(digits)
}

// clip returns s as valid UTF-8, cut at a character's boundary so that it is at most max
// bytes and an ellipsis.
func clip(s string, max int) string {
	if s = strings.ToValidUTF8(s, "\ufffd"); len(s) <= max {
		return s
	}
	for !utf8.RuneStart(s[max]) {
		max--
	}
	return s[:max] + "…"
}
