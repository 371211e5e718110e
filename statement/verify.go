package statement

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/pem"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
)

// Namespace is the SSHSIG namespace of everything that is signed for Brevet, as in
// "ssh-keygen -Y sign -n brevet". A signature made for git or for a file is none for us.
const Namespace = "brevet"

const maxSignature = 4 << 10 // bytes; an SSHSIG by an 8192-bit RSA key has some 2,200

// Verify checks that key made the signature sig on the statement e, and returns what the
// signature shows of a person's presence. It asks neither whose key it is nor whether sig
// stands in e. Failures are Refused, keys that are not well formed Invalid.
func Verify(e Envelope, sig Signature, key Key) (brevet.Presence, error) {
	return verify(e.PAE(), sig, key)
}

// VerifiedBy checks that key has signed the statement, and returns what its signature shows
// of a person's presence. Failures are Refused.
func (e Envelope) VerifiedBy(key Key) (brevet.Presence, error) {
	fingerprint, err := Fingerprint(key)
	if err != nil {
		return brevet.NoPresence, err
	}
	for _, s := range e.Signatures {
		if s.Key == fingerprint {
			return Verify(e, s, key)
		}
	}
	return brevet.NoPresence, brevet.Errorf(brevet.Refused, "the key %s has not signed this statement", fingerprint)
}

func verify(message []byte, sig Signature, key Key) (brevet.Presence, error) {
	k, err := key.parse()
	if err != nil {
		return brevet.NoPresence, err
	}
	if sig.Key != k.fingerprint() {
		return brevet.NoPresence, refusedSignature("it names another key")
	}
	if sig.Scheme != k.kind.scheme() {
		return brevet.NoPresence, refusedSignature("it is of a kind that the key does not make")
	}
	switch pub := k.machine.(type) {
	case ed25519.PublicKey:
		return verifyMachine(ed25519.Verify(pub, message, sig.Sig))
	case *ecdsa.PublicKey:
		digest := sha256.Sum256(message)
		return verifyMachine(ecdsa.VerifyASN1(pub, digest[:], sig.Sig))
	case nil:
		return verifySSH(message, sig.Sig, k.ssh)
	}
	return brevet.NoPresence, refusedSignature("keys of this kind do not sign")
}

func verifyMachine(good bool) (brevet.Presence, error) {
	if !good {
		return brevet.NoPresence, refusedSignature("it does not fit the key and the statement")
	}
	return brevet.NoPresence, nil // machines show nobody's presence
}

func refusedSignature(why string) *brevet.Error {
	return brevet.Errorf(brevet.Refused, "the signature is not good: %s", why)
}

// verifySSH checks an SSHSIG blob over message by the key want.
func verifySSH(message, blob []byte, want ssh.PublicKey) (brevet.Presence, error) {
	sig, err := parseSSHSIG(blob)
	if err != nil {
		return brevet.NoPresence, err
	}
	if !bytes.Equal(sig.PublicKey.Marshal(), want.Marshal()) {
		return brevet.NoPresence, refusedSignature("another key made it")
	}
	presence, err := presenceOf(sig)
	if err != nil {
		return brevet.NoPresence, err
	}
	if err := sshsig.Verify(bytes.NewReader(message), sig, want, sshsig.HashSHA512, Namespace); err != nil {
		return brevet.NoPresence, refusedSignature("it does not fit the key and the statement").Because(err)
	}
	return presence, nil
}

// parseSSHSIG reads an SSHSIG blob and holds it to the one form that we accept. Each check
// is for something that stock ssh-keygen can be made to produce or to accept.
func parseSSHSIG(blob []byte) (*sshsig.Signature, error) {
	if len(blob) > maxSignature {
		return nil, refusedSignature("it is too long")
	}
	sig, err := sshsig.ParseSignature(blob)
	if err != nil {
		return nil, refusedSignature("it is not an SSH signature").Because(err)
	}
	switch {
	case sig.Namespace != Namespace:
		return nil, refusedSignature("it was made for another use").WithHint("sign with: ssh-keygen -Y sign -n %s", Namespace)
	case sig.HashAlgorithm != sshsig.HashSHA512:
		return nil, refusedSignature("its hash is not SHA-512").WithHint("sign without -O hashalg")
	case sig.Signature.Format != algorithm(sig.PublicKey):
		// Certificates end here too: their type is no format of a signature.
		return nil, refusedSignature("its algorithm is not the one for its key")
	case !bytes.Equal(sig.Marshal(), blob):
		// Something stands in the reserved field, or a length is not the shortest.
		return nil, refusedSignature("it is not written in the usual way")
	}
	return sig, nil
}

// algorithm returns the one signature algorithm that we accept of a key.
func algorithm(pub ssh.PublicKey) string {
	if pub.Type() == ssh.KeyAlgoRSA {
		return ssh.KeyAlgoRSASHA512
	}
	return pub.Type()
}

// The flags of a FIDO signature (OpenSSH's PROTOCOL.u2f, "SSH U2F Signatures").
const (
	flagTouched  = 0x01
	flagVerified = 0x04
)

// presenceOf reads the flags that stand, signed, after a FIDO signature. Stock verifiers can
// be told to accept untouched keys; we cannot.
func presenceOf(sig *sshsig.Signature) (brevet.Presence, error) {
	rest := sig.Signature.Rest
	if _, fido := applicationOf(sig.PublicKey); !fido {
		if len(rest) > 0 {
			return brevet.NoPresence, refusedSignature("something stands behind it")
		}
		return brevet.NoPresence, nil
	}
	if len(rest) != 5 { // flags, and a counter of four bytes
		return brevet.NoPresence, refusedSignature("its flags are missing")
	}
	switch flags := rest[0]; {
	case flags&flagTouched == 0:
		return brevet.NoPresence, refusedSignature("nobody touched the security key").
			WithHint("use a key that asks to be touched: ssh-keygen -t ed25519-sk, without -O no-touch-required")
	case flags&flagVerified == 0:
		return brevet.TouchPresence, nil
	}
	return brevet.VerifiedPresence, nil
}

// Armored returns an SSHSIG signature as ssh-keygen writes it to a file, to be checked with
//
//	ssh-keygen -Y verify -n brevet -f ALLOWED_SIGNERS -I NAME -s FILE < PAE
//
// Signatures of other schemes have no such form and are Invalid.
func (s Signature) Armored() ([]byte, error) {
	if s.Scheme != SchemeSSHSIG {
		return nil, brevet.Errorf(brevet.Invalid, "only signatures by SSH keys are written as SSH signatures")
	}
	return pem.EncodeToMemory(&pem.Block{Type: sshsig.PEMType, Bytes: s.Sig}), nil
}

// ParseArmored reads a signature that "ssh-keygen -Y sign -n brevet" made over the PAE of a
// statement, to be added with Attach. Errors are Invalid or Refused.
func ParseArmored(b []byte) (Signature, error) {
	block, rest := pem.Decode(b)
	if block == nil || block.Type != sshsig.PEMType || len(block.Headers) > 0 || len(bytes.TrimSpace(rest)) > 0 {
		return Signature{}, brevet.Errorf(brevet.Invalid, "this is not the SSH signature that ssh-keygen writes")
	}
	sig, err := parseSSHSIG(block.Bytes)
	if err != nil {
		return Signature{}, err
	}
	key, err := SSHKey(sig.PublicKey)
	if err != nil {
		return Signature{}, err
	}
	fingerprint, err := Fingerprint(key)
	if err != nil {
		return Signature{}, err
	}
	return Signature{Scheme: SchemeSSHSIG, Key: fingerprint, Sig: block.Bytes}, nil
}
