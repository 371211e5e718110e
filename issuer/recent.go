package issuer

import "sync"

// recent remembers some of what was kept last: as many as may be, or up to twice as many. The zero
// value is empty.
type recent[K comparable, V any] struct {
	mu       sync.Mutex
	now, old map[K]V // guarded by mu
}

func (r *recent[K, V]) keep(k K, v V, most int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now == nil || len(r.now) >= most {
		r.now, r.old = map[K]V{}, r.now
	}
	r.now[k] = v
}

func (r *recent[K, V]) recall(k K) (V, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v, ok := r.now[k]; ok {
		return v, true
	}
	v, ok := r.old[k]
	return v, ok
}
