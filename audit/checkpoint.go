package audit

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/brevet-pim/brevet"
)

// Checkpoint says how long a log was and what its root was then. Signed it is a note of
// C2SP tlog-checkpoint: whoever keeps one can prove later that the log was changed.
type Checkpoint struct {
	Origin string // names the log; the name of its key too
	Size   int64
	Root   tlog.Hash
}

// maxCheckpoint is the longest signed checkpoint that is read: room for a hundred cosignatures.
const maxCheckpoint = 16 << 10

// Text returns the checkpoint's three lines, which are what is signed.
func (c Checkpoint) Text() string { return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, c.Root) }

func parseCheckpoint(text string) (Checkpoint, error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[3] != "" {
		return Checkpoint{}, brevet.Errorf(brevet.Invalid, "a checkpoint of the log has three lines")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return Checkpoint{}, brevet.Errorf(brevet.Invalid, "%s is not the size of a log", brevet.Quote(clip(lines[1], 32)))
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil || root.String() != lines[2] {
		return Checkpoint{}, brevet.Errorf(brevet.Invalid, "%s is not the root of a log", brevet.Quote(clip(lines[2], 64)))
	}
	return Checkpoint{Origin: lines[0], Size: size, Root: root}, nil
}

// The algorithms of C2SP signed-note: a plain Ed25519 signature, and a witness's, which has
// the time in it (C2SP tlog-cosignature).
const (
	algorithmEd25519     = 0x01
	algorithmCosignature = 0x04
)

// A Signer signs the checkpoints of one log with its key.
type Signer struct {
	origin string
	key    crypto.Signer
	public ed25519.PublicKey
	tell   func(signed []byte, by ed25519.PublicKey, c Checkpoint)
}

// NewSigner returns a Signer for the log named origin. The key must be Ed25519.
func NewSigner(origin string, key crypto.Signer) (*Signer, error) {
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		return nil, brevet.Errorf(brevet.Invalid, "the log's key is a %T: it must be Ed25519", key.Public())
	}
	if err := checkName(origin); err != nil {
		return nil, err
	}
	return &Signer{origin: origin, key: key, public: public}, nil
}

// Telling returns a Signer with the same key that tells of each checkpoint that it signs, before it
// returns it, so that nobody in the process need verify it.
func (s *Signer) Telling(tell func(signed []byte, by ed25519.PublicKey, c Checkpoint)) *Signer {
	telling := *s
	telling.tell = tell
	return &telling
}

// Origin returns the name of the log.
func (s *Signer) Origin() string { return s.origin }

// Public returns the key that checkpoints are verified with.
func (s *Signer) Public() ed25519.PublicKey { return s.public }

// Sign returns the signed checkpoint of the tree that h is the head of.
func (s *Signer) Sign(h Head) ([]byte, error) {
	c := Checkpoint{Origin: s.origin, Size: h.Size, Root: h.Root()}
	signed, err := note.Sign(&note.Note{Text: c.Text()}, noteSigner{name: s.origin, algorithm: algorithmEd25519, key: s.key, public: s.public})
	if err != nil {
		return nil, fmt.Errorf("sign the log's checkpoint: %w", err)
	}
	if s.tell != nil {
		s.tell(signed, s.public, c)
	}
	return signed, nil
}

// Open verifies that the log named origin signed the checkpoint with its key, and returns
// it. Signatures of others are left aside. A checkpoint that does not verify is Refused.
func Open(signed []byte, origin string, key ed25519.PublicKey) (Checkpoint, error) {
	n, err := openNote(signed, noteVerifier{name: origin, algorithm: algorithmEd25519, public: key})
	if err != nil {
		return Checkpoint{}, err
	}
	c, err := parseCheckpoint(n.Text)
	if err != nil {
		return Checkpoint{}, err
	}
	if c.Origin != origin {
		return Checkpoint{}, brevet.Errorf(brevet.Refused, "the checkpoint is of the log %s, not of %s", brevet.Quote(clip(c.Origin, 128)), origin)
	}
	return c, nil
}

func openNote(signed []byte, by noteVerifier) (*note.Note, error) {
	if len(signed) > maxCheckpoint {
		return nil, brevet.Errorf(brevet.Invalid, "a checkpoint of %d bytes is too long", len(signed))
	}
	if len(by.public) != ed25519.PublicKeySize {
		return nil, brevet.Errorf(brevet.Invalid, "the key of %s is not an Ed25519 public key", by.name)
	}
	n, err := note.Open(signed, note.VerifierList(by))
	if err != nil {
		return nil, brevet.Errorf(brevet.Refused, "the checkpoint is not signed by %s", by.name).Because(err)
	}
	return n, nil
}

// A Witness is one who has seen a log's checkpoints and vouches for them beside the log.
type Witness struct {
	Name string // name of the witness's key
	Key  ed25519.PublicKey
}

// Cosign adds the cosignature/v1 of C2SP tlog-cosignature to a signed checkpoint: that the
// witness has seen it at the given time, and nothing that contradicts it. Whether it
// extends the last one that the witness saw, the caller must have verified.
func Cosign(signed []byte, name string, key crypto.Signer, at time.Time) ([]byte, error) {
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		return nil, brevet.Errorf(brevet.Invalid, "the key of %s is a %T: it must be Ed25519", name, key.Public())
	}
	if err := checkName(name); err != nil {
		return nil, err
	}
	text, _, ok := strings.Cut(string(signed), "\n\n")
	if !ok || len(signed) > maxCheckpoint {
		return nil, brevet.Errorf(brevet.Invalid, "this is not a signed checkpoint")
	}
	text += "\n"
	if _, err := parseCheckpoint(text); err != nil {
		return nil, err
	}
	signer := noteSigner{name: name, algorithm: algorithmCosignature, key: key, public: public, at: at}
	own, err := note.Sign(&note.Note{Text: text}, signer)
	if err != nil {
		return nil, fmt.Errorf("cosign the checkpoint: %w", err)
	}
	line := own[len(text)+1:] // the text, an empty line, the signature's line
	return append(append([]byte(nil), signed...), line...), nil
}

// Cosigned verifies that the witness cosigned the checkpoint and returns when. A checkpoint
// without its valid cosignature is Refused.
func Cosigned(signed []byte, by Witness) (time.Time, error) {
	verifier := noteVerifier{name: by.Name, algorithm: algorithmCosignature, public: by.Key}
	n, err := openNote(signed, verifier)
	if err != nil {
		return time.Time{}, err
	}
	blob, err := base64.StdEncoding.DecodeString(n.Sigs[0].Base64)
	if err != nil || len(blob) < 4+8 {
		return time.Time{}, brevet.Errorf(brevet.Invalid, "the cosignature of %s cannot be read", by.Name)
	}
	return time.Unix(int64(binary.BigEndian.Uint64(blob[4:])), 0).UTC(), nil
}

// Key returns the witness's or log's key as C2SP tools take it (vkey): name, hash and key.
func (s *Signer) Key() string {
	v := noteVerifier{name: s.origin, algorithm: algorithmEd25519, public: s.public}
	encoded := base64.StdEncoding.EncodeToString(append([]byte{v.algorithm}, v.public...))
	return fmt.Sprintf("%s+%08x+%s", v.name, v.KeyHash(), encoded)
}

// checkName refuses what cannot name a key of a note.
func checkName(name string) error {
	if strings.Contains(name, "+") || !plain(name, 128) {
		return brevet.Errorf(brevet.Invalid, "%s cannot name a log or witness: use letters, digits and . _ : / = @ -", brevet.Quote(clip(name, 128)))
	}
	return nil
}

// noteSigner is a note.Signer over any crypto.Signer; note's own wants the private key as text.
type noteSigner struct {
	name      string
	algorithm byte
	key       crypto.Signer
	public    ed25519.PublicKey
	at        time.Time // of a cosignature
}

func (s noteSigner) Name() string    { return s.name }
func (s noteSigner) KeyHash() uint32 { return keyHash(s.name, s.algorithm, s.public) }

func (s noteSigner) Sign(text []byte) ([]byte, error) {
	if s.algorithm == algorithmEd25519 {
		return s.key.Sign(rand.Reader, text, crypto.Hash(0))
	}
	seconds := s.at.Unix()
	sig, err := s.key.Sign(rand.Reader, cosignedMessage(uint64(seconds), text), crypto.Hash(0))
	if err != nil {
		return nil, err
	}
	return append(binary.BigEndian.AppendUint64(nil, uint64(seconds)), sig...), nil
}

type noteVerifier struct {
	name      string
	algorithm byte
	public    ed25519.PublicKey
}

func (v noteVerifier) Name() string    { return v.name }
func (v noteVerifier) KeyHash() uint32 { return keyHash(v.name, v.algorithm, v.public) }

func (v noteVerifier) Verify(text, sig []byte) bool {
	if v.algorithm == algorithmEd25519 {
		return ed25519.Verify(v.public, text, sig)
	}
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	seconds := binary.BigEndian.Uint64(sig)
	if seconds>>62 != 0 { // no time; and it would be negative as an int64
		return false
	}
	return ed25519.Verify(v.public, cosignedMessage(seconds, text), sig[8:])
}

func cosignedMessage(seconds uint64, text []byte) []byte {
	return fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", seconds, text)
}

// keyHash is the key id of C2SP signed-note: it says which key of that name signed.
func keyHash(name string, algorithm byte, key []byte) uint32 {
	h := sha256.New()
	h.Write([]byte(name + "\n"))
	h.Write([]byte{algorithm})
	h.Write(key)
	return binary.BigEndian.Uint32(h.Sum(nil))
}
