package cli

import (
	"github.com/spf13/pflag"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/cli/show"
)

const (
	pageSize   = 100    // how many of a list a command shows, unless it is told
	mostListed = 10_000 // how many it can be told
	mostAsked  = 200    // how many it asks the server for at a time
)

func mostFlag(f *pflag.FlagSet, most *int) {
	f.IntVar(most, "most", pageSize, "how many at most")
}

// gather asks for pages of a list until it has most, and for the token of what follows, if anything does.
func gather[T any](most int, page func(size int32, token string) (list []T, next string, err error)) (all []T, next string, err error) {
	if most < 1 || most > mostListed {
		return nil, "", brevet.Errorf(brevet.Invalid, "--most %d is not from 1 to %d", most, mostListed)
	}
	for len(all) < most {
		var list []T
		if list, next, err = page(int32(min(most-len(all), mostAsked)), next); err != nil {
			return nil, "", err
		}
		if all = append(all, list...); next == "" || len(list) == 0 {
			break
		}
	}
	return all, next, nil
}

// noneOr returns what to say where a list has nothing.
func noneOr(all bool, nothing, nothingNow string) string {
	if all {
		return nothing
	}
	return nothingNow
}

// tableOf prints a table, and says so if there is more, or nothing at all.
func (a *app) tableOf(t show.Table, next, nothing string) error {
	switch {
	case len(t.Rows) == 0 && next != "":
		a.tell("Nothing that you may see is among the newest ones; there are more.")
		return nil
	case len(t.Rows) == 0:
		a.tell("%s", nothing)
		return nil
	}
	if err := a.table(t); err != nil {
		return err
	}
	if next != "" {
		a.tell("… there are more; the newest %d are shown, and with --most up to %d.", len(t.Rows), mostListed)
	}
	return nil
}
