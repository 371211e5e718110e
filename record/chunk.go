package record

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"slices"

	"github.com/klauspost/compress"
	"github.com/klauspost/compress/zstd"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/seal"
)

// A chunk is
//
//	"brvrec" 0x01 | flags (1) | session (30) | index (4) | before (8) | previous tag (16) |
//	preamble length (2) | preamble | sealed frames
//
// with numbers big-endian. Before is how many bytes the chunks before it have together.
// Everything up to the sealed frames is clear, and is the associated data of the seal:
// AES-256-GCM under the recording's data key, with the index as nonce (a key serves one
// Writer, which never uses an index twice). The previous tag is the one that ends the seal
// of the chunk before: so the chain holds for everybody who lacks the key.
//
// Only chunk 0 has a preamble: a commitment to the data key (32), and that key wrapped to
// each recipient: count (1), then recipient id (32), length (2), wrapped key. The
// commitment is there because GCM does not commit: without it a gateway could make one
// chunk that opens differently for two recipients with two keys.
//
// Where a recording is kept, each chunk stands behind its link (32): the hash of the one
// before it, SHA-256(link ‖ chunk); the link of chunk 0 is made of the session's id. So the
// chain can be followed without a key, and the last hash, which the log has of a complete
// recording, binds also those who have the key and could make another chunk for a tag.
// Whoever keeps a recording makes the links, not whoever seals it: a gateway that hashed
// while bytes flow would take a quarter of its processor time for that.
const (
	chunkMagic   = "brvrec\x01"
	sessionLen   = 30
	hashLen      = sha256.Size
	headLen      = len(chunkMagic) + 1 + sessionLen + 4 + 8 + gcmTag + 2
	maxPreamble  = hashLen + 1 + MaxRecipients*(hashLen+2+maxWrapped)
	maxWrapped   = dataKeyLen + seal.WrapOverhead
	dataKeyLen   = 32
	gcmTag       = 16
	flagLast     = 1 << 0
	flagZstd     = 1 << 1
	preambleSize = 2 // of the length
)

// ChunkSize is the most that a chunk holds before it is compressed and sealed, and MaxChunk
// the most that a sealed one has, in bytes.
const (
	ChunkSize = 256 << 10
	MaxChunk  = headLen + maxPreamble + ChunkSize + gcmTag
)

// MaxRecipients is how many recipients a recording may be sealed to.
const MaxRecipients = 16

// Hash is the hash of a chunk with its link, and so of every one before it.
type Hash [hashLen]byte

func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// tag is what the seal of a chunk ends with.
type tag [gcmTag]byte

func (t tag) String() string { return hex.EncodeToString(t[:]) }

// seed is the link of a session's first chunk.
func seed(session brevet.SessionID) Hash {
	return sha256.Sum256([]byte("brevet.recording.v1\n" + string(session) + "\n"))
}

// link puts a chunk behind its link, the hash of the one before, and returns it with its own hash.
func link(chain Hash, chunk []byte) ([]byte, Hash) {
	linked := slices.Concat(chain[:], chunk)
	return linked, sha256.Sum256(linked)
}

// unlink takes a chunk apart that stands behind its link.
func unlink(linked []byte) (chain Hash, chunk []byte, err error) {
	if len(linked) < hashLen {
		return Hash{}, nil, malformed("this is not a chunk of a recording")
	}
	return Hash(linked), linked[hashLen:], nil
}

// place is where the next chunk of a recording belongs.
type place struct {
	session brevet.SessionID
	index   uint32
	before  uint64
	tag     tag // of the chunk before; zero before the first
}

// takes reports whether the chunk with the head belongs there.
func (p place) takes(h head) bool { return h.place == p }

// after moves behind the chunk.
func (p *place) after(chunk []byte) {
	p.index++
	p.before += uint64(len(chunk))
	p.tag = tag(chunk[len(chunk)-gcmTag:])
}

// head is the clear part of a chunk.
type head struct {
	last bool
	zstd bool
	place
	preamble []byte
}

func (h head) append(b []byte) []byte {
	var flags byte
	if h.last {
		flags |= flagLast
	}
	if h.zstd {
		flags |= flagZstd
	}
	b = append(b, chunkMagic...)
	b = append(b, flags)
	b = append(b, h.session...)
	b = binary.BigEndian.AppendUint32(b, h.index)
	b = binary.BigEndian.AppendUint64(b, h.before)
	b = append(b, h.tag[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(h.preamble)))
	return append(b, h.preamble...)
}

// parseHead reads the clear part of a chunk and returns the sealed rest. The preamble
// stays part of chunk.
func parseHead(chunk []byte) (h head, sealed []byte, err error) {
	if len(chunk) > MaxChunk {
		return head{}, nil, malformed("a chunk of %d bytes is longer than any that Brevet writes", len(chunk))
	}
	if len(chunk) < headLen+gcmTag || string(chunk[:len(chunkMagic)]) != chunkMagic {
		return head{}, nil, malformed("this is not a chunk of a recording")
	}
	b := chunk[len(chunkMagic):]
	flags := b[0]
	h.last, h.zstd = flags&flagLast != 0, flags&flagZstd != 0
	b = b[1:]
	if flags&^(flagLast|flagZstd) != 0 {
		return head{}, nil, malformed("a chunk has flags 0x%02x that this Brevet does not know", flags)
	}
	h.session, err = brevet.ParseSessionID(string(b[:sessionLen]))
	if err != nil {
		return head{}, nil, err
	}
	b = b[sessionLen:]
	h.index = binary.BigEndian.Uint32(b)
	h.before = binary.BigEndian.Uint64(b[4:])
	b = b[12:]
	h.tag = tag(b)
	n := int(binary.BigEndian.Uint16(b[gcmTag:]))
	b = b[gcmTag+preambleSize:]
	if n > len(b)-gcmTag || (n > 0) != (h.index == 0) {
		return head{}, nil, malformed("a chunk has a preamble of %d bytes, where it may not", n)
	}
	h.preamble = b[:n:n]
	return h, b[n:], nil
}

// sealer makes the chunks of one recording, one after another. It is not safe for
// concurrent use.
type sealer struct {
	place    // of the next chunk
	pools    *pools
	aead     cipher.AEAD
	preamble []byte
}

// newSealer makes a data key, wraps it to the recipients and forgets it.
func newSealer(session brevet.SessionID, recipients []seal.Recipient, pools *pools) (*sealer, error) {
	if len(recipients) == 0 || len(recipients) > MaxRecipients {
		return nil, brevet.Errorf(brevet.Invalid, "a recording is sealed to 1 to %d recipients, not %d", MaxRecipients, len(recipients)).
			WithHint("name a recorder with a seal key in the roster")
	}
	key := make([]byte, dataKeyLen)
	defer clear(key)
	rand.Read(key) // never fails (crypto/rand, Go 1.24)

	commitment := commit(session, key)
	preamble := append(commitment[:], byte(len(recipients)))
	for _, r := range recipients {
		wrapped, err := r.Wrap(wrapContext(session), key)
		if err != nil {
			return nil, err
		}
		id := r.ID()
		preamble = append(preamble, id[:]...)
		preamble = binary.BigEndian.AppendUint16(preamble, uint16(len(wrapped)))
		preamble = append(preamble, wrapped...)
	}
	aead, err := newGCM(key)
	if err != nil {
		return nil, err
	}
	return &sealer{place: place{session: session}, pools: pools, aead: aead, preamble: preamble}, nil
}

// seal makes the next chunk of plain frames, in the room of buf if that is enough.
func (s *sealer) seal(buf, plain []byte, last bool) []byte {
	h := head{last: last, place: s.place}
	if s.index == 0 {
		h.preamble = s.preamble
		s.preamble = nil
	}
	size := headLen + len(h.preamble)
	out := slices.Grow(buf[:0], size+len(plain)+gcmTag)

	// The frames are compressed into their place behind the head; if that does not make
	// them shorter, the seal reads them where they are.
	body := plain
	if worthCompressing(plain) {
		if packed := s.pools.compress(out[size:size], plain); len(packed) < len(plain) {
			body, h.zstd = packed, true
		}
	}
	out = h.append(out)
	nonce := nonceOf(s.index)
	out = s.aead.Seal(out, nonce[:], body, out[:size])
	s.after(out)
	return out
}

// end returns what the End event of the next chunk says of the ones before.
func (s *sealer) end(e End) End {
	e.Chunks, e.Root = int(s.index)+1, s.tag.String()
	return e
}

// opener opens the chunks of one recording.
type opener struct {
	aead    cipher.AEAD
	decoder *zstd.Decoder // of the first chunk that needs one
	plain   []byte
}

// newOpener finds the data key in the preamble of chunk 0 with the first identity that
// it is wrapped to.
func newOpener(first head, identities []*seal.Identity) (*opener, error) {
	commitment, wrapped, err := parsePreamble(first.preamble)
	if err != nil {
		return nil, err
	}
	for _, identity := range identities {
		sealed, ok := wrapped[identity.Recipient().ID()]
		if !ok {
			continue
		}
		key, err := identity.Unwrap(wrapContext(first.session), sealed)
		if err != nil {
			return nil, err
		}
		defer key.Erase()
		got := commit(first.session, key.Reveal())
		if subtle.ConstantTimeCompare(got[:], commitment[:]) != 1 {
			return nil, brevet.Errorf(brevet.Refused, "the data key for this recipient is not the one that the recording is committed to")
		}
		aead, err := newGCM(key.Reveal())
		if err != nil {
			return nil, err
		}
		return &opener{aead: aead}, nil
	}
	return nil, brevet.Errorf(brevet.Refused, "the recording is sealed to other keys than the ones given").
		WithHint("it opens for: %s", recipientList(wrapped))
}

// open returns the plain frames of a chunk, valid until the next call.
func (o *opener) open(chunk []byte, h head, sealed []byte) ([]byte, error) {
	nonce := nonceOf(h.index)
	body, err := o.aead.Open(nil, nonce[:], sealed, chunk[:len(chunk)-len(sealed)])
	if err != nil {
		return nil, brevet.Errorf(brevet.Refused, "its seal is broken")
	}
	if !h.zstd {
		if len(body) > ChunkSize {
			return nil, malformed("it holds %d bytes, more than %d", len(body), ChunkSize)
		}
		return body, nil
	}
	if o.decoder == nil {
		o.decoder = newDecoder()
	}
	if o.plain, err = o.decoder.DecodeAll(body, o.plain[:0]); err != nil {
		return nil, malformed("it does not decompress to at most %d bytes", ChunkSize).Because(err)
	}
	return o.plain, nil
}

func parsePreamble(b []byte) (commitment Hash, wrapped map[seal.RecipientID][]byte, err error) {
	bad := malformed("the list of recipients is malformed")
	if len(b) < hashLen+1 {
		return Hash{}, nil, bad
	}
	commitment = Hash(b[:hashLen])
	count := int(b[hashLen])
	b = b[hashLen+1:]
	wrapped = map[seal.RecipientID][]byte{}
	for range count {
		if len(b) < hashLen+2 {
			return Hash{}, nil, bad
		}
		id, n := seal.RecipientID(b[:hashLen]), int(binary.BigEndian.Uint16(b[hashLen:]))
		b = b[hashLen+2:]
		if n > len(b) {
			return Hash{}, nil, bad
		}
		wrapped[id], b = b[:n], b[n:]
	}
	if len(b) != 0 || count == 0 || count > MaxRecipients || len(wrapped) != count {
		return Hash{}, nil, bad
	}
	return commitment, wrapped, nil
}

func recipientList(wrapped map[seal.RecipientID][]byte) string {
	var ids []string
	for id := range wrapped {
		ids = append(ids, id.String()[:16]+"…")
	}
	slices.Sort(ids)
	list := ""
	for i, id := range ids {
		if i > 0 {
			list += ", "
		}
		list += id
	}
	return list
}

func wrapContext(session brevet.SessionID) string {
	return "brevet.recording.v1\n" + string(session) + "\n"
}

// commit binds a data key: nobody can find two keys with one commitment.
func commit(session brevet.SessionID, key []byte) (h Hash) {
	m := hmac.New(sha256.New, key)
	m.Write([]byte("brevet.recording.key.v1\n" + string(session) + "\n"))
	m.Sum(h[:0])
	return h
}

func nonceOf(index uint32) (n [12]byte) {
	binary.BigEndian.PutUint32(n[8:], index)
	return n
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// Compression, a whole chunk at a time: a streaming encoder would cost each session 10 MiB
// or more.

// sampleSize is how much of a chunk is looked at, in four places, to see whether it is
// worth compressing at all: random or already compressed bytes are not, and trying
// costs as much as sealing them.
const sampleSize = 2 << 10

// worthCompressing reports whether any sample of plain looks compressible.
func worthCompressing(plain []byte) bool {
	if len(plain) <= 4*sampleSize {
		return len(plain) > 64
	}
	for i := range 4 {
		at := i * (len(plain) - sampleSize) / 3
		if compress.Estimate(plain[at:at+sampleSize]) > 0.1 {
			return true
		}
	}
	return false
}

func newEncoder() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(ChunkSize), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic(err) // unreachable: the options are constants
	}
	return e
}

// newDecoder returns a decoder that refuses what would become longer than ChunkSize before
// it takes the memory.
func newDecoder() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(ChunkSize),
		zstd.WithDecoderMaxWindow(ChunkSize), zstd.WithDecoderLowmem(true))
	if err != nil {
		panic(err) // unreachable: the options are constants
	}
	return d
}
