package brevet

import "time"

// Credential is what the holder of a grant uses. It never outlives the grant.
type Credential struct {
	Kind   string // "ssh-certificate"
	Serial uint64
	Public []byte // the certificate, in the wire form of its kind; the holder has the key
	To     time.Time
}
