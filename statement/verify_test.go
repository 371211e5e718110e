package statement_test

import (
	"bytes"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/pem"
	"io"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/statement"
)

func newSSHPublic(t testing.TB, public any) ssh.PublicKey {
	t.Helper()
	return must(ssh.NewPublicKey(public))(t)
}

func TestVerifyShowsPresence(t *testing.T) {
	fido := func(k *fidoKey) statement.Signer { return must(statement.SSHSigner(k))(t) }
	tests := []struct {
		name   string
		signer statement.Signer
		scheme statement.Scheme
		want   brevet.Presence
	}{
		{"ssh ed25519", newSSH(t, newEd25519(t)), statement.SchemeSSHSIG, brevet.NoPresence},
		{"ssh ecdsa p-256", newSSH(t, newECDSA(t, elliptic.P256())), statement.SchemeSSHSIG, brevet.NoPresence},
		{"ssh ecdsa p-384", newSSH(t, newECDSA(t, elliptic.P384())), statement.SchemeSSHSIG, brevet.NoPresence},
		{"ssh ecdsa p-521", newSSH(t, newECDSA(t, elliptic.P521())), statement.SchemeSSHSIG, brevet.NoPresence},
		{"ssh rsa 3072", newSSH(t, must(rsa3072())(t)), statement.SchemeSSHSIG, brevet.NoPresence},
		{"fido ed25519, touched", fido(newFIDOEd25519(t, "ssh:", touched)), statement.SchemeSSHSIG, brevet.TouchPresence},
		{"fido ed25519, verified", fido(newFIDOEd25519(t, "ssh:brevet", touched|verified)), statement.SchemeSSHSIG, brevet.VerifiedPresence},
		{"fido ecdsa, touched", fido(newFIDOECDSA(t, "ssh:", touched)), statement.SchemeSSHSIG, brevet.TouchPresence},
		{"fido ecdsa, verified", fido(newFIDOECDSA(t, "ssh:", touched|verified)), statement.SchemeSSHSIG, brevet.VerifiedPresence},
		{"machine ed25519", must(statement.MachineSigner(newEd25519(t)))(t), statement.SchemeEd25519, brevet.NoPresence},
		{"machine ecdsa p-256", must(statement.MachineSigner(newECDSA(t, elliptic.P256())))(t), statement.SchemeECDSA, brevet.NoPresence},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := must(statement.New(t.Context(), request(t), tt.signer))(t)
			sig := e.Signatures[0]
			if sig.Scheme != tt.scheme || sig.Key != fingerprint(t, tt.signer.Key()) {
				t.Errorf("signature by %s, %s", sig.Key, sig.Scheme)
			}
			if got := must(e.VerifiedBy(tt.signer.Key()))(t); got != tt.want {
				t.Errorf("presence %s, want %s", got, tt.want)
			}

			other := e
			other.Payload = bytes.Replace(e.Payload, []byte("1800"), []byte("9800"), 1)
			_, err := statement.Verify(other, sig, tt.signer.Key())
			wantKind(t, err, brevet.Refused)

			other = e
			other.PayloadType = statement.KindApproval.PayloadType()
			_, err = statement.Verify(other, sig, tt.signer.Key())
			wantKind(t, err, brevet.Refused)

			for i := range sig.Sig { // every byte counts
				bad := sig
				bad.Sig = slices.Clone(sig.Sig)
				bad.Sig[i] ^= 0x80
				if _, err := statement.Verify(e, bad, tt.signer.Key()); err == nil {
					t.Errorf("the signature is good with byte %d of %d changed", i, len(sig.Sig))
				}
			}
			for _, bad := range [][]byte{nil, sig.Sig[:len(sig.Sig)-1], append(slices.Clone(sig.Sig), 0)} {
				if _, err := statement.Verify(e, statement.Signature{Scheme: sig.Scheme, Key: sig.Key, Sig: bad}, tt.signer.Key()); err == nil {
					t.Errorf("the signature is good at length %d instead of %d", len(bad), len(sig.Sig))
				}
			}
		})
	}
}

// sshsigBlob is an SSHSIG blob by hand (OpenSSH's PROTOCOL.sshsig), to make what honest
// software does not.
type sshsigBlob struct {
	Version   uint32
	Public    []byte
	Namespace string
	Reserved  string
	Hash      string
	Signature []byte
}

// forge signs message with s after change has had its way with the blob.
func forge(t *testing.T, message []byte, s ssh.Signer, change func(*sshsigBlob)) []byte {
	t.Helper()
	b := sshsigBlob{Version: 1, Public: s.PublicKey().Marshal(), Namespace: statement.Namespace, Hash: "sha512"}
	change(&b)
	digest := sha512.Sum512(message)
	hash := digest[:]
	if b.Hash == "sha256" {
		short := sha256.Sum256(message)
		hash = short[:]
	}
	signed := append([]byte("SSHSIG"), ssh.Marshal(struct {
		Namespace, Reserved, Hash string
		Digest                    []byte
	}{b.Namespace, b.Reserved, b.Hash, hash})...)
	if b.Signature == nil {
		b.Signature = ssh.Marshal(must(s.Sign(rand.Reader, signed))(t))
	}
	return append([]byte("SSHSIG"), ssh.Marshal(b)...)
}

func TestVerifyRefusesForgedSSHSIG(t *testing.T) {
	e := must(statement.New(t.Context(), request(t)))(t)
	plain := must(ssh.NewSignerFromSigner(newEd25519(t)))(t)
	other := must(ssh.NewSignerFromSigner(newEd25519(t)))(t)
	rsaSigner := must(ssh.NewSignerFromSigner(must(rsa3072())(t)))(t).(ssh.AlgorithmSigner)
	fido := func(flags byte) ssh.Signer { return newFIDOEd25519(t, "ssh:", flags) }
	fidoKey1 := newFIDOEd25519(t, "ssh:", touched)
	rest := func(rest []byte, strip bool) ssh.Signer {
		return signerFunc{fidoKey1.PublicKey(), func(data []byte) (*ssh.Signature, error) {
			sig, err := fidoKey1.Sign(nil, data)
			if strip {
				sig.Rest = nil
			}
			sig.Rest = append(sig.Rest, rest...)
			return sig, err
		}}
	}
	keep := func(*sshsigBlob) {}
	tests := []struct {
		name    string
		by, key ssh.Signer
		message []byte
		change  func(*sshsigBlob)
		why     string
	}{
		{"honest", plain, plain, e.PAE(), keep, ""},
		{"honest, touched", fido(touched), nil, e.PAE(), keep, ""},
		{"another key", other, plain, e.PAE(), keep, "another key"},
		{"another key under our name", other, plain, e.PAE(), func(b *sshsigBlob) { b.Public = plain.PublicKey().Marshal() }, "does not fit"},
		{"namespace of git", plain, plain, e.PAE(), func(b *sshsigBlob) { b.Namespace = "git" }, "another use"},
		{"namespace of a file", plain, plain, e.PAE(), func(b *sshsigBlob) { b.Namespace = "file" }, "another use"},
		{"no namespace", plain, plain, e.PAE(), func(b *sshsigBlob) { b.Namespace = "" }, "another use"},
		{"SHA-256", plain, plain, e.PAE(), func(b *sshsigBlob) { b.Hash = "sha256" }, "SHA-512"},
		{"MD5", plain, plain, e.PAE(), func(b *sshsigBlob) { b.Hash = "md5" }, "not an SSH signature"},
		{"version 2", plain, plain, e.PAE(), func(b *sshsigBlob) { b.Version = 2 }, "not an SSH signature"},
		{"reserved field", plain, plain, e.PAE(), func(b *sshsigBlob) { b.Reserved = "x" }, "usual way"},
		{"certificate in place of the key", plain, plain, e.PAE(), func(b *sshsigBlob) { b.Public = certificateFor(t, plain).Marshal() }, "algorithm"},
		{"payload without PAE", plain, plain, e.Payload, keep, "does not fit"},
		{"nothing signed", plain, plain, nil, keep, "does not fit"},
		{"untouched", fido(0), nil, e.PAE(), keep, "touched"},
		{"verified but untouched", fido(verified), nil, e.PAE(), keep, "touched"},
		{"flags missing", rest(nil, true), nil, e.PAE(), keep, "flags"},
		{"flags cut", rest([]byte{1, 0, 0, 0}, true), nil, e.PAE(), keep, "flags"},
		{"flags long", rest([]byte{0}, false), nil, e.PAE(), keep, "flags"},
		{"verified flag forged", rest([]byte{touched | verified, 0, 0, 0, 7}, true), nil, e.PAE(), keep, "does not fit"},
		{"counter forged", rest([]byte{touched, 0, 0, 0, 8}, true), nil, e.PAE(), keep, "does not fit"},
		{"flags behind a plain key", signerFunc{plain.PublicKey(), func(data []byte) (*ssh.Signature, error) {
			sig, err := plain.Sign(rand.Reader, data)
			sig.Rest = []byte{touched | verified, 0, 0, 0, 1}
			return sig, err
		}}, nil, e.PAE(), keep, "behind"},
		{"RSA with SHA-1", signerFunc{rsaSigner.PublicKey(), func(data []byte) (*ssh.Signature, error) {
			return rsaSigner.SignWithAlgorithm(rand.Reader, data, ssh.KeyAlgoRSA)
		}}, nil, e.PAE(), keep, "not an SSH signature"},
		{"RSA with SHA-256", signerFunc{rsaSigner.PublicKey(), func(data []byte) (*ssh.Signature, error) {
			return rsaSigner.SignWithAlgorithm(rand.Reader, data, ssh.KeyAlgoRSASHA256)
		}}, nil, e.PAE(), keep, "algorithm"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.key == nil {
				tt.key = tt.by
			}
			key := must(statement.SSHKey(tt.key.PublicKey()))(t)
			sig := statement.Signature{Scheme: statement.SchemeSSHSIG, Key: fingerprint(t, key), Sig: forge(t, tt.message, tt.by, tt.change)}
			_, err := statement.Verify(e, sig, key)
			if tt.why == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantKind(t, err, brevet.Refused)
			if message, _ := brevet.MessageOf(err); !strings.Contains(message, tt.why) {
				t.Errorf("message %q does not say %q", message, tt.why)
			}
		})
	}
}

type signerFunc struct {
	public ssh.PublicKey
	sign   func(data []byte) (*ssh.Signature, error)
}

func (s signerFunc) PublicKey() ssh.PublicKey { return s.public }

func (s signerFunc) Sign(_ io.Reader, data []byte) (*ssh.Signature, error) { return s.sign(data) }

func TestVerifyRefusesMixedUp(t *testing.T) {
	private := newEd25519(t)
	machine, person := must(statement.MachineSigner(private))(t), newSSH(t, private) // one key, two ways
	e := must(statement.New(t.Context(), request(t), machine, person))(t)
	byMachine, byPerson := e.Signatures[0], e.Signatures[1]
	relabel := func(s statement.Signature, scheme statement.Scheme, key statement.Key) statement.Signature {
		return statement.Signature{Scheme: scheme, Key: fingerprint(t, key), Sig: s.Sig}
	}
	xwing := newXWing(t)
	tests := []struct {
		name string
		sig  statement.Signature
		key  statement.Key
	}{
		{"the key's other fingerprint", byMachine, person.Key()},
		{"a machine's signature as a person's", relabel(byMachine, statement.SchemeSSHSIG, person.Key()), person.Key()},
		{"a machine's signature with the person's key", relabel(byMachine, statement.SchemeEd25519, person.Key()), person.Key()},
		{"a person's signature as a machine's", relabel(byPerson, statement.SchemeEd25519, machine.Key()), machine.Key()},
		{"another scheme", relabel(byMachine, statement.SchemeECDSA, machine.Key()), machine.Key()},
		{"no scheme", relabel(byMachine, "", machine.Key()), machine.Key()},
		{"a key that does not sign", relabel(byMachine, "", xwing), xwing},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := statement.Verify(e, tt.sig, tt.key)
			wantKind(t, err, brevet.Refused)
		})
	}
	_, err := statement.Verify(e, byMachine, statement.Key{Kind: statement.KindEd25519, Public: "AAAA"})
	wantKind(t, err, brevet.Invalid)
	_, err = e.VerifiedBy(statement.Key{})
	wantKind(t, err, brevet.Invalid)
}

func TestParseSSHKey(t *testing.T) {
	line := func(pub ssh.PublicKey) string { return string(ssh.MarshalAuthorizedKey(pub)) }
	plain := newSSHPublic(t, newEd25519(t).Public())
	want := strings.TrimSuffix(line(plain), "\n")
	for _, s := range []string{want, want + "\n", "  " + want + " bob@laptop\r\n"} {
		got := must(statement.ParseSSHKey(s))(t)
		if got != (statement.Key{Kind: statement.KindSSH, Public: want}) {
			t.Errorf("%q: got %+v", s, got)
		}
		if fp := fingerprint(t, got); fp != ssh.FingerprintSHA256(plain) {
			t.Errorf("fingerprint %s is not OpenSSH's %s", fp, ssh.FingerprintSHA256(plain))
		}
	}
	signer := must(ssh.NewSignerFromSigner(newEd25519(t)))(t)
	tests := []struct{ name, line string }{
		{"empty", ""},
		{"private key", "-----BEGIN OPENSSH PRIVATE KEY-----"},
		{"certificate", line(certificateFor(t, signer))},
		{"RSA of 2048 bits", line(newSSHPublic(t, must(rsa2048())(t).Public()))},
		{"options", `command="id" ` + want},
		{"certificate authority", "cert-authority " + want},
		{"two keys", want + "\n" + want},
		{"garbage and a key", "garbage\n" + want},
		{"type does not fit", "ecdsa-sha2-nistp256" + strings.TrimPrefix(want, "ssh-ed25519")},
		{"security key for a web site", line(newFIDOEd25519(t, "https://example.com", touched).PublicKey())},
		{"security key for a web site, ECDSA", line(newFIDOECDSA(t, "example.com", touched).PublicKey())},
		{"1 MiB", strings.Repeat("A", 1<<20)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := statement.ParseSSHKey(tt.line)
			wantKind(t, err, brevet.Invalid)
		})
	}
}

func TestKeyHasOneSpelling(t *testing.T) {
	ssh1, ed, x := newSSH(t, newEd25519(t)).Key(), must(statement.MachineSigner(newEd25519(t)))(t).Key(), newXWing(t)
	p384 := newECDSA(t, elliptic.P384())
	_, err := statement.MachineKeyOf(p384.Public())
	wantKind(t, err, brevet.Invalid)
	_, err = statement.MachineKeyOf(must(rsa3072())(t).Public())
	wantKind(t, err, brevet.Invalid)

	raw := must(base64.StdEncoding.DecodeString(ed.Public))(t)
	tests := []struct {
		name string
		key  statement.Key
	}{
		{"zero", statement.Key{}},
		{"comment", statement.Key{Kind: ssh1.Kind, Public: ssh1.Public + " bob"}},
		{"two blanks", statement.Key{Kind: ssh1.Kind, Public: strings.Replace(ssh1.Public, " ", "  ", 1)}},
		{"unpadded", statement.Key{Kind: ed.Kind, Public: strings.TrimRight(ed.Public, "=")}},
		{"line break", statement.Key{Kind: ed.Kind, Public: ed.Public + "\n"}},
		{"other kind", statement.Key{Kind: statement.KindECDSA, Public: ed.Public}},
		{"unknown kind", statement.Key{Kind: "rsa", Public: ed.Public}},
		{"trailing bytes", statement.Key{Kind: ed.Kind, Public: base64.StdEncoding.EncodeToString(append(slices.Clone(raw), 0))}},
		{"SSH key as a machine's", statement.Key{Kind: statement.KindEd25519, Public: ssh1.Public}},
		{"1 MiB", statement.Key{Kind: ed.Kind, Public: strings.Repeat("A", 1<<20)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := statement.Fingerprint(tt.key)
			wantKind(t, err, brevet.Invalid)
		})
	}
	for _, k := range []statement.Key{ed, x} {
		again := must(statement.MachineKeyOf(must(k.Crypto())(t)))(t)
		if again != k {
			t.Errorf("got %+v, want %+v", again, k)
		}
		_, err := k.SSH()
		wantKind(t, err, brevet.Invalid)
	}
	if again := must(statement.SSHKey(must(ssh1.SSH())(t)))(t); again != ssh1 {
		t.Errorf("got %+v, want %+v", again, ssh1)
	}
	_, err = ssh1.Crypto()
	wantKind(t, err, brevet.Invalid)
}

func TestArmoredRefuses(t *testing.T) {
	signer := newSSH(t, newEd25519(t))
	e := must(statement.New(t.Context(), request(t), signer, must(statement.MachineSigner(newEd25519(t)))(t)))(t)
	armored := must(e.Signatures[0].Armored())(t)
	if got := must(statement.ParseArmored(armored))(t); got.Key != e.Signatures[0].Key || !bytes.Equal(got.Sig, e.Signatures[0].Sig) {
		t.Errorf("got %+v, want %+v", got, e.Signatures[0])
	}
	_, err := e.Signatures[1].Armored()
	wantKind(t, err, brevet.Invalid)

	weak := must(ssh.NewSignerFromSigner(must(rsa2048())(t)))(t).(ssh.AlgorithmSigner)
	byWeak := forge(t, e.PAE(), signerFunc{weak.PublicKey(), func(data []byte) (*ssh.Signature, error) {
		return weak.SignWithAlgorithm(rand.Reader, data, ssh.KeyAlgoRSASHA512)
	}}, func(*sshsigBlob) {})
	tests := []struct {
		name string
		pem  []byte
	}{
		{"empty", nil},
		{"other type", bytes.ReplaceAll(armored, []byte("SSH SIGNATURE"), []byte("SSH SIGNATURES"))},
		{"headers", bytes.Replace(armored, []byte("\n"), []byte("\nA: b\n\n"), 1)},
		{"two", append(slices.Clone(armored), armored...)},
		{"weak key", pem.EncodeToMemory(&pem.Block{Type: "SSH SIGNATURE", Bytes: byWeak})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := statement.ParseArmored(tt.pem)
			wantKind(t, err, brevet.Invalid)
		})
	}
}

func TestPossession(t *testing.T) {
	for name, signer := range map[string]statement.Signer{
		"ssh": newSSH(t, newEd25519(t)), "fido": must(statement.SSHSigner(newFIDOEd25519(t, "ssh:", touched)))(t),
		"workload": must(statement.MachineSigner(newEd25519(t)))(t),
	} {
		t.Run(name, func(t *testing.T) {
			p := statement.Possession{Org: idOf("org"), Person: "bob", Key: signer.Key(), Code: digestOf("code")}
			good := statement.Enrolment{Person: p.Person, Key: p.Key, Code: p.Code, Possession: must(p.Prove(t.Context(), signer))(t)}
			want := brevet.NoPresence
			if name == "fido" {
				want = brevet.TouchPresence
			}
			if got := must(good.CheckPossession(p.Org))(t); got != want {
				t.Errorf("presence %s, want %s", got, want)
			}
			_, err := good.CheckPossession(idOf("another"))
			wantKind(t, err, brevet.Refused)
			for what, change := range map[string]func(*statement.Enrolment){
				"person": func(e *statement.Enrolment) { e.Person = "mallory" },
				"code":   func(e *statement.Enrolment) { e.Code = digestOf("other") },
				"key":    func(e *statement.Enrolment) { e.Key = sshKey(t, "mallory") },
				"none":   func(e *statement.Enrolment) { e.Possession = "" },
				"base64": func(e *statement.Enrolment) { e.Possession += "!" },
			} {
				bad := good
				change(&bad)
				if _, err := bad.CheckPossession(p.Org); brevet.KindOf(err) != brevet.Refused || err == nil {
					t.Errorf("%s: got %v, want it refused", what, err)
				}
			}
			_, err = p.Prove(t.Context(), newSSH(t, newEd25519(t)))
			wantKind(t, err, brevet.Invalid)
		})
	}
}
