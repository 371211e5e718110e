package flow

import (
	"slices"
	"strconv"
	"testing"

	"github.com/brevet-pim/brevet/store"
)

// TestAPageIsOfWhatIsShown: what is left out of a list takes no place in its pages, and nothing that is shown is
// lost between two of them.
func TestAPageIsOfWhatIsShown(t *testing.T) {
	for _, total := range []int{0, 1, 9, 10, 11, 100, 700} {
		read := func(p store.Page) ([]int, error) { // newest first, as the store does
			from := total
			if p.After != "" {
				from, _ = strconv.Atoi(p.After)
			}
			var rows []int
			for n := from - 1; n >= 0 && len(rows) < p.Size(); n-- {
				rows = append(rows, n)
			}
			return rows, nil
		}
		for _, every := range []int{1, 2, 7, 1000} {
			var want, got []int
			for n := total - 1; n >= 0; n-- {
				if n%every == 0 {
					want = append(want, n)
				}
			}
			pages := 0
			for p := (store.Page{Limit: 10}); ; pages++ {
				views, next, err := shown(p, read, strconv.Itoa, func(n int) (int, bool, error) { return n, n%every == 0, nil })
				if err != nil || len(views) > 10 {
					t.Fatal(len(views), err)
				}
				if got = append(got, views...); next == "" {
					break
				}
				if len(got) == len(want) && total <= mostPages*10 {
					t.Errorf("%d, each %dth: more are promised than there are", total, every)
				}
				if len(views) < 10 && total <= mostPages*10 {
					t.Errorf("%d, each %dth: a page of %d, and more are to come", total, every, len(views))
				}
				p.After = next
			}
			if !slices.Equal(got, want) || pages > total {
				t.Errorf("%d, each %dth: %v", total, every, got)
			}
		}
	}
}
