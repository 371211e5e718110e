package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/policy"
)

func TestStatus(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want int
	}{
		{"well", nil, statusOK},
		{"a failure", errors.New("x"), statusFailure},
		{"inside Brevet", brevet.Errorf(brevet.Internal, "x"), statusFailure},
		{"invalid", brevet.Errorf(brevet.Invalid, "x"), statusUsage},
		{"problems of files", policy.Problems{{Level: policy.Error, What: "x"}}, statusUsage},
		{"refused", brevet.Errorf(brevet.Refused, "x"), statusRefused},
		{"wrapped", fmt.Errorf("do: %w", brevet.Errorf(brevet.NotFound, "x")), statusNotFound},
		{"unavailable", brevet.Errorf(brevet.Unavailable, "x"), statusUnavailable},
		{"conflict", brevet.Errorf(brevet.Conflict, "x"), statusConflict},
		{"limited", brevet.Errorf(brevet.Limited, "x"), statusLimited},
		{"unauthenticated", brevet.Errorf(brevet.Unauthenticated, "x"), statusUnauthenticated},
		{"interrupted", context.Canceled, statusInterrupted},
		{"interrupted by a person", interrupted{}, statusInterrupted},
		{"told already", exit(statusNeedsYou), statusNeedsYou},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Status(tt.err); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

// TestStatusesAreListed compares docs/reference/exit-codes.md with the program.
func TestStatusesAreListed(t *testing.T) {
	page := must(os.ReadFile("../docs/reference/exit-codes.md"))(t)
	got := map[int]string{}
	for _, row := range regexp.MustCompile(`(?m)^\| (\d+) \| ([a-z ]+) \|`).FindAllStringSubmatch(string(page), -1) {
		got[must(strconv.Atoi(row[1]))(t)] = row[2]
	}
	want := map[int]string{
		statusOK: "ok", statusFailure: "failure", statusUsage: "usage", statusNeedsYou: "needs you", statusRefused: "refused",
		statusNotFound: "not found", statusUnavailable: "unavailable", statusConflict: "conflict", statusLimited: "limited",
		statusUnauthenticated: "unauthenticated", statusInterrupted: "interrupted",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("differs (-program +page):\n%s", diff)
	}
}

func TestReport(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want string
	}{
		{"nothing", nil, ""},
		{"with a hint", brevet.Errorf(brevet.Refused, "no").WithHint("ask again"), "no\n  ask again\n"},
		{"the cause is for the log", brevet.Errorf(brevet.Refused, "no").Because(errors.New("secret")), "no\n"},
		{"an escape sequence", brevet.Errorf(brevet.Refused, "no \x1b[2J"), "no \\x1b[2J\n"},
		{"told already", exit(3), ""},
		{"inside Brevet", brevet.Errorf(brevet.Internal, "cannot").Because(errors.New("disk")), "cannot: disk\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			Report(&b, tt.err)
			if b.String() != tt.want {
				t.Errorf("got %q, want %q", b.String(), tt.want)
			}
		})
	}
}
