package api

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/brevet-pim/brevet"
)

// TestWhatTookTooLong: an error that says what became of a call is not told as one that took long, for the
// time that was over within it.
func TestWhatTookTooLong(t *testing.T) {
	over, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	late := fmt.Errorf("database: %w", context.DeadlineExceeded)
	said := brevet.Errorf(brevet.Unavailable, "the gateways end it now").Because(late)
	for _, tt := range []struct {
		name         string
		ctx, bounded context.Context
		err          error
		want         string // "" for the error itself
	}{
		{"nothing", t.Context(), over, nil, ""},
		{"said", t.Context(), over, said, ""},
		{"another failure", t.Context(), over, errors.New("x"), ""},
		{"the caller has gone", over, over, late, ""},
		{"a part of it", t.Context(), t.Context(), late, "this took too long and was given up"},
		{"the whole", t.Context(), over, late, "this took longer than 30s and was given up"},
	} {
		got := tookTooLong(tt.ctx, tt.bounded, tt.err)
		if tt.want == "" {
			if got != tt.err {
				t.Errorf("%s: %v", tt.name, got)
			}
			continue
		}
		if message, _ := brevet.MessageOf(got); message != tt.want || brevet.KindOf(got) != brevet.Unavailable {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
