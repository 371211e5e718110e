package ssh

import "testing"

// TestHold: what is held is closed once, when it is to end and the last who needs it lets go.
func TestHold(t *testing.T) {
	var h hold
	closed := 0
	end := func() { h.end(func() { closed++ }) }
	for range 2 {
		if !h.take() {
			t.Fatal("what is open cannot be held")
		}
	}
	h.release()
	end()
	if closed != 0 || h.take() {
		t.Errorf("while it is needed it was closed %d times, or it can be held anew", closed)
	}
	if h.release(); closed != 1 {
		t.Errorf("it was closed %d times", closed)
	}
	h = hold{}
	if end(); closed != 2 {
		t.Error("what nobody needs was not closed at once")
	}
}
