package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/store"
)

// listing is a message that asks for a page of a list.
type listing interface {
	proto.Message
	GetPageSize() int32
	GetPageToken() string
}

// A page token is where the page before ended, after a checksum over that, the list, its
// filters and the caller. It gives no right: what a list shows is decided for each call, so
// somebody who makes one up sees what they may see anyway. The checksum finds tokens that
// were altered, or belong to another list, other filters or another caller.
const checkSize = 12

// page returns which page is wanted.
func page(by brevet.Caller, m listing) (store.Page, error) {
	p := store.Page{Limit: int(m.GetPageSize())}
	if err := between("page_size", m.GetPageSize(), 0, store.MaxPage); err != nil {
		return p, err
	}
	if m.GetPageToken() == "" {
		return p, nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(m.GetPageToken())
	if err != nil || len(b) <= checkSize || len(b) > checkSize+maxID || !bytes.Equal(b[:checkSize], pageCheck(by, m, b[checkSize:])) {
		return p, wrong("page_token", "it is not of this list").
			WithHint("begin again without it; filters must stay the same from page to page")
	}
	p.After = string(b[checkSize:])
	return p, nil
}

// pageToken returns the token of the page after the one that ended there, or "" if there is none.
func pageToken(by brevet.Caller, m listing, end string) string {
	if end == "" {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(append(pageCheck(by, m, []byte(end)), end...))
}

func pageCheck(by brevet.Caller, m listing, end []byte) []byte {
	filters := proto.Clone(m).ProtoReflect()
	for _, field := range []protoreflect.Name{"page_size", "page_token"} {
		filters.Clear(filters.Descriptor().Fields().ByName(field))
	}
	// The form may differ between versions of Brevet; then somebody begins a list again.
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(filters.Interface())
	if err != nil { // text that is not UTF-8, which no decoder lets through
		return nil
	}
	h := sha256.New()
	for _, part := range [][]byte{[]byte(filters.Descriptor().FullName()), []byte(by.Person), b, end} {
		h.Write(strconv.AppendInt(nil, int64(len(part)), 10))
		h.Write([]byte{':'})
		h.Write(part)
	}
	return h.Sum(nil)[:checkSize]
}
