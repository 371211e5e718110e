package proof

import "sync"

// Recent remembers some of what was kept last: as many as may be, or up to twice as many. The zero
// value is empty. It is safe for use by many at once.
type Recent[K comparable, V any] struct {
	mu       sync.Mutex
	now, old map[K]V // guarded by mu
}

// Keep remembers the value, and forgets the older ones when the newer are as many as may be.
func (r *Recent[K, V]) Keep(k K, v V, most int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now == nil || len(r.now) >= most {
		r.now, r.old = map[K]V{}, r.now
	}
	r.now[k] = v
}

// Recall returns the value, and false if it is not remembered.
func (r *Recent[K, V]) Recall(k K) (V, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v, ok := r.now[k]; ok {
		return v, true
	}
	v, ok := r.old[k]
	return v, ok
}
