package brevet

import (
	"crypto/rand"
	"strings"
	"time"
)

// Ids are a prefix and 26 characters of Crockford's base32 in lower case: 48 bits of
// milliseconds since 1970, then 80 bits of entropy (the layout of a ULID), so that
// they sort by time. People may type any unique ending of one.
type (
	// RequestID names a request: req_…. It is made of the request statement's own
	// time and digest (see RequestIDOf), so it cannot be pointed at another statement.
	RequestID string
	// GrantID names a grant: grt_…. A request leads to at most one grant, and both end alike.
	GrantID string
	// SessionID names one use of a grant: ses_….
	SessionID string
	// EventID names an event of the audit log: evt_….
	EventID string
)

// PersonID names a person or a workload of the roster, as in "alice". The other
// names are those of the catalog and of the roster's machines. All are lower case,
// see CheckName.
type (
	PersonID  string
	GroupName string
	RoleName  string
	TargetID  string
	MachineID string
)

const (
	requestPrefix = "req_"
	grantPrefix   = "grt_"
	sessionPrefix = "ses_"
	eventPrefix   = "evt_"
	idLength      = 26
)

// crockford is the alphabet of https://www.crockford.com/base32.html in lower case.
const crockford = "0123456789abcdefghjkmnpqrstvwxyz"

// RequestIDOf returns the id of the request whose statement was made at the given
// time and has the given digest (32 bytes, of which ten are used).
func RequestIDOf(at time.Time, digest [32]byte) RequestID {
	return RequestID(requestPrefix + encodeID(at, [10]byte(digest[:10])))
}

// FirstRequestID returns what sorts before the id of every request that was made at that time or later.
func FirstRequestID(at time.Time) RequestID {
	return RequestID(requestPrefix + encodeID(at, [10]byte{}))
}

// Grant returns the id of the one grant that the request may lead to.
func (id RequestID) Grant() GrantID {
	return GrantID(grantPrefix + strings.TrimPrefix(string(id), requestPrefix))
}

// Request returns the id of the request that the grant rests on.
func (id GrantID) Request() RequestID {
	return RequestID(requestPrefix + strings.TrimPrefix(string(id), grantPrefix))
}

// NewSessionID returns a fresh id that sorts at now.
func NewSessionID(now time.Time) SessionID { return SessionID(sessionPrefix + randomID(now)) }

// NewEventID returns a fresh id that sorts at now.
func NewEventID(now time.Time) EventID { return EventID(eventPrefix + randomID(now)) }

// ParseRequestID returns s as an id, or an Invalid error.
func ParseRequestID(s string) (RequestID, error) { return parseID[RequestID](s, requestPrefix) }

// ParseGrantID returns s as an id, or an Invalid error.
func ParseGrantID(s string) (GrantID, error) { return parseID[GrantID](s, grantPrefix) }

// ParseSessionID returns s as an id, or an Invalid error.
func ParseSessionID(s string) (SessionID, error) { return parseID[SessionID](s, sessionPrefix) }

func parseID[T ~string](s, prefix string) (T, error) {
	body, ok := strings.CutPrefix(s, prefix)
	if !ok || len(body) != idLength || strings.Trim(body, crockford) != "" {
		return "", Errorf(Invalid, "%s is not an id like %s%s", Quote(s), prefix, strings.Repeat("0", idLength))
	}
	return T(s), nil
}

func randomID(now time.Time) string {
	var entropy [10]byte
	rand.Read(entropy[:]) // never fails (crypto/rand, Go 1.24)
	return encodeID(now, entropy)
}

// encodeID writes 130 bits, the two highest zero, five at a time.
func encodeID(at time.Time, entropy [10]byte) string {
	ms := uint64(at.UnixMilli())
	bytes := [16]byte{byte(ms >> 40), byte(ms >> 32), byte(ms >> 24), byte(ms >> 16), byte(ms >> 8), byte(ms)}
	copy(bytes[6:], entropy[:])
	var out [idLength]byte
	for i := range out {
		var five byte
		for bit := i*5 - 2; bit < i*5+3; bit++ {
			five <<= 1
			if bit >= 0 {
				five |= bytes[bit/8] >> (7 - bit%8) & 1
			}
		}
		out[i] = crockford[five]
	}
	return string(out[:])
}

// MaxName is the longest name of a person, group, role, target or machine, in bytes.
const MaxName = 64

// CheckName returns an Invalid error unless name is fit to name a noun: lower-case
// ASCII letters, digits and "_.-", beginning with a letter or digit, at most MaxName
// bytes. No comma, slash, star, blank or look-alike can get into a certificate's
// principals, a path or a policy by way of a name.
func CheckName(what, name string) error {
	if name == "" {
		return Errorf(Invalid, "%s has no name", what)
	}
	if len(name) > MaxName {
		return Errorf(Invalid, "%s name %s… is longer than %d characters", what, Quote(name[:16]), MaxName)
	}
	for i, r := range name {
		letter := 'a' <= r && r <= 'z' || '0' <= r && r <= '9'
		if !letter && (i == 0 || !strings.ContainsRune("_.-", r)) {
			return Errorf(Invalid, "%s name %s: use lower-case letters a-z, digits and . _ - (first a letter or digit)", what, Quote(name))
		}
	}
	return nil
}
