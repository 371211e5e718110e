package cli

import (
	"errors"
	"slices"
	"strconv"
	"testing"

	"github.com/brevet-pim/brevet"
)

// TestGather reads lists whose pages may be shorter than was asked for.
func TestGather(t *testing.T) {
	for _, tt := range []struct {
		name             string
		have, page, most int // items of the list, in pages of so many at most
		want, asked      int
		more             bool
	}{
		{"all in one page", 3, 200, 100, 3, 1, false},
		{"none", 0, 200, 100, 0, 1, false},
		{"cut within a page", 300, 200, 100, 100, 1, true},
		{"as many as there are", 100, 200, 100, 100, 1, false},
		{"several pages", 1000, 200, 450, 450, 3, true},
		{"short pages", 10, 3, 8, 8, 3, true},
		{"to the end", 10, 3, 100, 10, 4, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked := 0
			got, next, err := gather(tt.most, func(size int32, token string) ([]int, string, error) {
				asked++
				at, _ := strconv.Atoi(token)
				end := min(at+min(tt.page, int(size)), tt.have)
				if size < 1 || size > mostAsked {
					t.Errorf("asked for %d", size)
				}
				var list []int
				for n := at; n < end; n++ {
					list = append(list, n)
				}
				if end == tt.have {
					return list, "", nil
				}
				return list, strconv.Itoa(end), nil
			})
			if err != nil || len(got) != tt.want || asked != tt.asked || (next != "") != tt.more || !slices.IsSorted(got) {
				t.Errorf("%d items in %d pages, next %q: %v", len(got), asked, next, err)
			}
		})
	}
}

func TestGatherFails(t *testing.T) {
	for _, most := range []int{-1, 0, mostListed + 1} {
		if _, _, err := gather(most, func(int32, string) ([]int, string, error) { t.Error("asked"); return nil, "", nil }); brevet.KindOf(err) != brevet.Invalid {
			t.Errorf("--most %d: %v", most, err)
		}
	}
	away := errors.New("away")
	got, next, err := gather(5, func(_ int32, token string) ([]int, string, error) {
		if token == "" {
			return []int{1}, "more", nil
		}
		return nil, "", away
	})
	if got != nil || next != "" || !errors.Is(err, away) {
		t.Errorf("half a list passes for one: %v, %q, %v", got, next, err)
	}
	// A server that promises more and gives nothing is not asked for ever.
	if got, next, err = gather(5, func(int32, string) ([]int, string, error) { return nil, "more", nil }); got != nil || next != "more" || err != nil {
		t.Errorf("%v, %q, %v", got, next, err)
	}
}
