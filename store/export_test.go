package store

import (
	"context"
	"fmt"
)

// LimitPages bounds the size of a SQLite database, in pages, as a full disk would.
func (s *Store) LimitPages(ctx context.Context, pages int) error {
	_, err := s.writes.ExecContext(ctx, fmt.Sprintf("pragma max_page_count = %d", pages))
	return err
}
