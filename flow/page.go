package flow

import (
	"slices"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/store"
)

// page is how many rows are read at a time.
const page = 500

// grantsOf returns every grant that the filter wants, oldest first, however many pages they fill.
func grantsOf(q *store.Query, f store.GrantFilter) ([]brevet.Grant, error) {
	return everyPage(func(p store.Page) ([]brevet.Grant, error) {
		f.Page = p
		return q.Grants(f)
	}, func(g brevet.Grant) string { return string(g.ID) })
}

// sessionsOf returns every session that the filter wants, oldest first.
func sessionsOf(q *store.Query, f store.SessionFilter) ([]brevet.Session, error) {
	return everyPage(func(p store.Page) ([]brevet.Session, error) {
		f.Page = p
		return q.Sessions(f)
	}, func(s brevet.Session) string { return string(s.ID) })
}

// eventsOf returns every event that the filter wants, in the order of the log.
func eventsOf(q *store.Query, f store.Filter) ([]store.Entry, error) {
	f.Limit = store.MaxPage
	var all []store.Entry
	for {
		rows, err := q.Search(f)
		if err != nil {
			return nil, err
		}
		all = append(all, rows...)
		if len(rows) < store.MaxPage || rows[len(rows)-1].Index == 0 {
			slices.Reverse(all)
			return all, nil
		}
		f.Before = rows[len(rows)-1].Index
	}
}

// everyPage reads a list to its end. What must not be forgotten, as what is to be ended, must not
// stop where a page does.
func everyPage[T any](read func(store.Page) ([]T, error), id func(T) string) ([]T, error) {
	var all []T
	for p := (store.Page{Limit: store.MaxPage}); ; p.After = id(all[len(all)-1]) {
		rows, err := read(p)
		if err != nil {
			return nil, err
		}
		if all = append(all, rows...); len(rows) < store.MaxPage {
			return all, nil
		}
	}
}

// mostPages bounds how many pages are looked through for one that is shown.
const mostPages = 50

// shown returns a page of what view shows of a list, and where the next one begins, or "" if there is none.
// What view leaves out takes no place in it. Of a list in which next to nothing is to be shown it may return
// less than a page, and goes on where it stopped.
func shown[R, V any](p store.Page, read func(store.Page) ([]R, error), id func(R) string, view func(R) (v V, show bool, err error)) (views []V, next string, err error) {
	for range mostPages {
		rows, err := read(p)
		if err != nil {
			return nil, "", err
		}
		for _, r := range rows {
			v, show, err := view(r)
			if err != nil {
				return nil, "", err
			}
			if show && len(views) == p.Size() {
				return views, p.After, nil
			}
			if p.After = id(r); show {
				views = append(views, v)
			}
		}
		if len(rows) < p.Size() {
			return views, "", nil
		}
	}
	return views, p.After, nil
}
