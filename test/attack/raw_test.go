package attack_test

import (
	"bufio"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet/test/gatewaytest"
)

// raw is an SSH client that sends whatever it is told to, which no library does: just enough of RFC 4253
// and 4252 to be logged in, with curve25519-sha256 (RFC 8731) and aes128-gcm@openssh.com (RFC 5647).
type raw struct {
	conn    net.Conn
	in      *bufio.Reader
	session []byte // the exchange hash
	shared  []byte // as an mpint
	out     sealing
	from    sealing
}

// sealing is one direction's cipher.
type sealing struct {
	cipher.AEAD
	nonce []byte
}

const gcmTag = 16

// next counts the nonce up (RFC 5647, section 7.1).
func (s *sealing) next() {
	count := s.nonce[4:]
	binary.BigEndian.PutUint64(count, binary.BigEndian.Uint64(count)+1)
}

const rawVersion = "SSH-2.0-raw"

// Messages of RFC 4253 and 4252.
const (
	msgKexInit     = 20
	msgNewKeys     = 21
	msgECDHInit    = 30
	msgUserAuth    = 50
	msgAuthFailure = 51
	msgAuthSuccess = 52
)

// Messages of RFC 4254.
const (
	msgGlobalRequest  = 80
	msgRequestSuccess = 81
	msgRequestFailure = 82
	msgChannelOpen    = 90
	msgOpenConfirm    = 91
	msgOpenFailure    = 92
	msgWindowAdjust   = 93
	msgChannelData    = 94
	msgExtendedData   = 95
	msgChannelEOF     = 96
	msgChannelClose   = 97
	msgChannelRequest = 98
	msgChannelSuccess = 99
	msgChannelFailure = 100
)

// dialRaw connects and logs in with the key.
func dialRaw(w *gatewaytest.World, key gossh.Signer) (*raw, error) {
	c, err := net.Dial("tcp", w.Addr)
	if err != nil {
		return nil, err
	}
	r := &raw{conn: c, in: bufio.NewReader(c)}
	if err := errors.Join(c.SetDeadline(time.Now().Add(patience)), r.exchangeKeys(), r.logIn(w.Login+"%web1", key)); err != nil {
		c.Close()
		return nil, err
	}
	return r, nil
}

func (r *raw) exchangeKeys() error {
	if _, err := io.WriteString(r.conn, rawVersion+"\r\n"); err != nil {
		return err
	}
	version, err := r.in.ReadString('\n')
	if err != nil {
		return err
	}
	type kexInit struct {
		Kex, HostKeys, CiphersTo, CiphersFrom, MACsTo, MACsFrom, PackTo, PackFrom, LanguagesTo, LanguagesFrom []string
		Follows                                                                                               bool
		Reserved                                                                                              uint32
	}
	const gcm, mac, none = "aes128-gcm@openssh.com", "hmac-sha2-256", "none"
	ours := append(append([]byte{msgKexInit}, make([]byte, 16)...), gossh.Marshal(kexInit{
		Kex: []string{"curve25519-sha256"}, HostKeys: []string{"ssh-ed25519"}, CiphersTo: []string{gcm}, CiphersFrom: []string{gcm},
		MACsTo: []string{mac}, MACsFrom: []string{mac}, PackTo: []string{none}, PackFrom: []string{none},
	})...)
	if err := r.send(ours); err != nil {
		return err
	}
	theirs, err := r.receive()
	if err != nil {
		return err
	}
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	public := private.PublicKey().Bytes()
	if err := r.send(append([]byte{msgECDHInit}, gossh.Marshal(struct{ Key []byte }{public})...)); err != nil {
		return err
	}
	reply, err := r.receive()
	if err != nil {
		return err
	}
	var answer struct{ HostKey, Key, Signature []byte }
	if err := gossh.Unmarshal(reply[1:], &answer); err != nil {
		return err
	}
	peer, err := ecdh.X25519().NewPublicKey(answer.Key)
	if err != nil {
		return err
	}
	secret, err := private.ECDH(peer)
	if err != nil {
		return err
	}
	r.shared = mpint(secret)
	hash := sha256.New()
	for _, part := range [][]byte{[]byte(rawVersion), []byte(version[:len(version)-2]), ours, theirs, answer.HostKey, public, answer.Key} {
		_ = binary.Write(hash, binary.BigEndian, uint32(len(part))) // a hash takes everything
		hash.Write(part)
	}
	hash.Write(r.shared)
	r.session = hash.Sum(nil)
	if err := r.send([]byte{msgNewKeys}); err != nil {
		return err
	}
	if got, err := r.receive(); err != nil || got[0] != msgNewKeys {
		return fmt.Errorf("instead of new keys came %v, %w", got, err)
	}
	r.out, err = r.sealing('A', 'C')
	if err != nil {
		return err
	}
	r.from, err = r.sealing('B', 'D')
	return err
}

// mpint is a positive number as RFC 4251 writes it.
func mpint(n []byte) []byte {
	for len(n) > 0 && n[0] == 0 {
		n = n[1:]
	}
	if len(n) > 0 && n[0] >= 0x80 {
		n = append([]byte{0}, n...)
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(n))), n...)
}

// sealing derives a direction's key (RFC 4253, section 7.2).
func (r *raw) sealing(nonce, key byte) (sealing, error) {
	derive := func(letter byte) []byte {
		h := sha256.New()
		h.Write(r.shared)
		h.Write(r.session)
		h.Write([]byte{letter})
		h.Write(r.session)
		return h.Sum(nil)
	}
	block, err := aes.NewCipher(derive(key)[:16])
	if err != nil {
		return sealing{}, err
	}
	aead, err := cipher.NewGCM(block)
	return sealing{aead, derive(nonce)[:12]}, err
}

func (r *raw) logIn(user string, key gossh.Signer) error {
	if err := r.send(append([]byte{msgServiceCall}, gossh.Marshal(struct{ Name string }{"ssh-userauth"})...)); err != nil {
		return err
	}
	type request struct {
		User, Service, Method string
		Proves                bool
		Algorithm             string
		Key                   []byte
	}
	asks := append([]byte{msgUserAuth}, gossh.Marshal(request{user, "ssh-connection", "publickey", true, key.PublicKey().Type(), key.PublicKey().Marshal()})...)
	signature, err := key.Sign(rand.Reader, append(gossh.Marshal(struct{ Session []byte }{r.session}), asks...))
	if err != nil {
		return err
	}
	if err := r.send(append(asks, gossh.Marshal(struct{ Signature []byte }{gossh.Marshal(signature)})...)); err != nil {
		return err
	}
	for {
		got, err := r.receive()
		switch {
		case err != nil:
			return err
		case got[0] == msgAuthSuccess:
			return nil
		case got[0] == msgAuthFailure:
			return errors.New("not logged in")
		}
	}
}

// send sends one packet, sealed once there are keys.
func (r *raw) send(payload []byte) error {
	if r.out.AEAD == nil {
		_, err := r.conn.Write(plain(payload...))
		return err
	}
	_, err := r.conn.Write(r.seal(nil, payload))
	return err
}

// seal appends a sealed packet.
func (r *raw) seal(to, payload []byte) []byte {
	padding := 16 - (1+len(payload))%16
	if padding < 4 {
		padding += 16
	}
	inside := append(append([]byte{byte(padding)}, payload...), make([]byte, padding)...)
	length := binary.BigEndian.AppendUint32(nil, uint32(len(inside)))
	to = r.out.Seal(append(to, length...), r.out.nonce, inside, length)
	r.out.next()
	return to
}

// receive returns the payload of the next packet.
func (r *raw) receive() ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(r.in, length[:]); err != nil {
		return nil, err
	}
	sealed := r.from.AEAD != nil
	packet := make([]byte, binary.BigEndian.Uint32(length[:]))
	if sealed {
		packet = append(packet, make([]byte, gcmTag)...)
	}
	if _, err := io.ReadFull(r.in, packet); err != nil {
		return nil, err
	}
	if sealed {
		var err error
		if packet, err = r.from.Open(nil, r.from.nonce, packet, length[:]); err != nil {
			return nil, err
		}
		r.from.next()
	}
	if len(packet) < 2+int(packet[0]) {
		return nil, errors.New("a packet without a payload")
	}
	return packet[1 : len(packet)-int(packet[0])], nil
}

// open opens a session and starts the command. The window is as large as there is.
func (r *raw) open(command string) (theirs uint32, err error) {
	opens := append([]byte{msgChannelOpen}, gossh.Marshal(struct {
		Kind                  string
		Ours, Window, Largest uint32
	}{"session", 0, 1 << 31, 1 << 15})...)
	if err := r.send(opens); err != nil {
		return 0, err
	}
	got, err := r.receive()
	for ; err == nil && got[0] != msgOpenConfirm; got, err = r.receive() {
		if got[0] == msgOpenFailure {
			return 0, errors.New("the session is not opened")
		}
	}
	if err != nil {
		return 0, err
	}
	theirs = binary.BigEndian.Uint32(got[5:])
	return theirs, r.send(append([]byte{msgChannelRequest}, gossh.Marshal(struct {
		Channel uint32
		Kind    string
		Reply   bool
		Command string
	}{theirs, "exec", false, command})...))
}
