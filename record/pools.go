package record

import (
	"sync"

	"github.com/klauspost/compress/zstd"
)

// Buffers start small and grow by four: an idle session has none, a quiet one 1 KiB, and
// busy ones share large ones.
const (
	smallBuffer = 1 << 10
	largeBuffer = ChunkSize + maxEnd + 4<<10
)

// pools hold the large buffers and the encoders that nobody uses just now. The zero pools
// are ready for use.
type pools struct {
	buffers  sync.Pool // of *[largeBuffer]byte
	encoders sync.Pool // of *zstd.Encoder
}

// compress appends the compressed bytes to dst.
func (p *pools) compress(dst, plain []byte) []byte {
	e, ok := p.encoders.Get().(*zstd.Encoder)
	if !ok {
		e = newEncoder()
	}
	defer p.encoders.Put(e)
	return e.EncodeAll(plain, dst)
}

// grow returns b with room for n more bytes, and takes back the old buffer.
func (p *pools) grow(b []byte, n int) []byte {
	need := len(b) + n
	switch {
	case need <= cap(b):
		return b
	case need > ChunkSize/4 && need <= largeBuffer:
		large, ok := p.buffers.Get().(*[largeBuffer]byte)
		if !ok {
			large = new([largeBuffer]byte)
		}
		return append(large[:0], b...)
	}
	size := smallBuffer
	for size < need {
		size *= 4
	}
	return append(make([]byte, 0, size), b...)
}

// recycle takes back a buffer if it is a large one. What a session said does not stay in it.
func (p *pools) recycle(b []byte) {
	if cap(b) == largeBuffer {
		clear(b)
		p.buffers.Put((*[largeBuffer]byte)(b[:largeBuffer]))
	}
}
