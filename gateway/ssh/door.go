package ssh

import (
	"net/netip"
	"slices"
	"sync"
)

// door bounds the connections that have not proven who they are. When it is full, the one that has
// been waiting longest, of the source that has most, gives way to the newcomer: a crowd of
// stalled clients pushes out itself, and somebody who proves a key within a second comes through.
type door struct {
	max int

	mu      sync.Mutex // guards what follows
	waiting map[netip.Prefix][]*visitor
	count   int
}

type visitor struct {
	source netip.Prefix
	evict  func()
}

// enter lets a connection in and returns what to call once it has proven a key or is gone.
// evict may be called meanwhile, once.
func (d *door) enter(source netip.Addr, evict func()) (leave func()) {
	v := &visitor{source: block(source), evict: evict}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.count >= d.max {
		d.pushOut()
	}
	if d.waiting == nil {
		d.waiting = map[netip.Prefix][]*visitor{}
	}
	d.waiting[v.source] = append(d.waiting[v.source], v)
	d.count++
	return func() { d.leave(v) }
}

// block is what counts as one source: an IPv4 address, or the IPv6 network that one subscriber has.
func block(source netip.Addr) netip.Prefix {
	source = source.Unmap()
	bits := 64
	if source.Is4() {
		bits = 32
	}
	p, err := source.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // no address: a source of its own
	}
	return p
}

// pushOut evicts the oldest of the source that has most. The caller holds mu.
func (d *door) pushOut() {
	var most []*visitor
	for _, list := range d.waiting {
		if len(list) > len(most) {
			most = list
		}
	}
	if len(most) == 0 {
		return
	}
	oldest := most[0]
	d.remove(oldest)
	oldest.evict()
}

func (d *door) leave(v *visitor) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.remove(v)
}

// remove takes v out, if it is still there. The caller holds mu.
func (d *door) remove(v *visitor) {
	list := d.waiting[v.source]
	i := slices.Index(list, v)
	if i < 0 {
		return
	}
	d.count--
	if list = slices.Delete(list, i, i+1); len(list) == 0 {
		delete(d.waiting, v.source)
		return
	}
	d.waiting[v.source] = list
}
