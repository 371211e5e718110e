package flow

import (
	"testing"

	"github.com/brevet-pim/brevet/store"
)

// TestAnEndedTokenIsNotSeen lets a token be ended while a call has read it and not remembered it yet.
func TestAnEndedTokenIsNotSeen(t *testing.T) {
	var k signedIn
	token := store.Token{Hash: "one"}
	before := k.endings()
	k.seen(token, before)
	if _, known := k.within("one", justNow); !known {
		t.Fatal("what was seen is not known")
	}
	k.forget(func(t store.Token) bool { return t.Hash == "one" })
	k.seen(token, before)
	if _, known := k.within("one", lately); known {
		t.Error("an ended token is known again")
	}
	k.seen(token, k.endings())
	if _, known := k.within("one", 0); known {
		t.Error("a token is known for longer than was asked")
	}
}
