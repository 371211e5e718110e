package issuer

import (
	"context"
	"crypto"
	"crypto/x509"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/issuer/ca"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
)

// How long the certificates of Brevet's own connections are good, and how long before now they
// begin, for whoever's clock is late.
const (
	hostCertificateGood = 24 * time.Hour
	tlsCertificateGood  = 30 * 24 * time.Hour
	certificateLead     = time.Minute
)

// hostSuffix ends the names that people type for targets: web1.brevet.
const hostSuffix = ".brevet"

// HostCertificate returns an SSH host certificate of a day, in its wire form, for a gateway of the
// roster and its host key, also in wire form. name is what people dial: the gateway's own name, or
// TARGET.brevet. A target that the gateway does not serve is Refused; a name that is no target's is
// not, since a person who mistyped one should be told so by the gateway, not by an alarm of ssh's.
func (i *Issuer) HostCertificate(_ context.Context, machine brevet.MachineID, name string, key []byte) (certificate []byte, err error) {
	public, err := ssh.ParsePublicKey(key)
	if err != nil {
		return nil, brevet.Errorf(brevet.Invalid, "the host key cannot be read").Because(err)
	}
	i.giving.RLock()
	defer i.giving.RUnlock()
	m, err := i.machineWith(machine, ssh.FingerprintSHA256(public), statement.KeyHost)
	if err != nil {
		return nil, err
	}
	if m.Use != statement.MachineGateway {
		return nil, refuse("%s is a %s, not a gateway", machine, m.Use)
	}
	if err := i.mayBeCalled(m, name); err != nil {
		return nil, err
	}
	now, err := i.clock.now()
	if err != nil {
		return nil, err
	}
	return i.keys.hosts.SignHost(ca.Certificate{
		Key: public, Serial: newSerial(), KeyID: string(machine) + " " + name, Principals: []string{name},
		After: uint64(now.Add(-certificateLead).Unix()), Before: uint64(now.Add(hostCertificateGood).Unix()),
	})
}

// mayBeCalled checks that people may find the gateway under the name.
func (i *Issuer) mayBeCalled(m statement.Machine, name string) error {
	target, found := strings.CutSuffix(name, hostSuffix)
	if !found && name != string(m.Name) {
		return refuse("%s is neither the gateway %s nor TARGET%s", brevet.Quote(name[:min(len(name), 80)]), m.Name, hostSuffix)
	}
	if !found {
		target = name
	}
	if err := brevet.CheckName("host", target); err != nil {
		return err
	}
	catalog, err := i.knows().state.Catalog.InForce()
	if err != nil {
		return err
	}
	if t, ok := catalog.Target(brevet.TargetID(target)); found && ok && !m.Targets.Matches(t) {
		return refuse("the gateway %s does not serve %s", m.Name, target)
	}
	return nil
}

// machineWith returns the machine of the roster if it has the key for the use, and the key is not
// revoked. The caller holds giving.
func (i *Issuer) machineWith(name brevet.MachineID, fingerprint string, use statement.MachineUse) (statement.Machine, error) {
	if err := i.knows().able(); err != nil {
		return statement.Machine{}, err
	}
	m, _, err := i.knows().state.Roster.MachineOf(fingerprint, use, proof.End)
	switch {
	case err != nil:
		return statement.Machine{}, err
	case m.Name != name:
		return statement.Machine{}, refuse("key %s is of %s, not of %s", fingerprint, m.Name, name)
	case len(i.knows().state.Revoked.Of(statement.RevokeKey, fingerprint, proof.End)) > 0:
		return statement.Machine{}, refuse("key %s of %s is revoked", fingerprint, name)
	}
	return m, nil
}

// TLSCertificate returns a certificate of thirty days, in DER, for Brevet's own connections: of a
// machine of the roster and its TLS key, Ed25519 or ECDSA P-256. Names are DNS names and addresses,
// as they will be dialled. Clients that pin CACertificate accept it.
func (i *Issuer) TLSCertificate(_ context.Context, machine brevet.MachineID, names []string, key crypto.PublicKey) (certificate []byte, err error) {
	k, err := statement.MachineKeyOf(key)
	if err != nil {
		return nil, err
	}
	fingerprint, err := statement.Fingerprint(k)
	if err != nil {
		return nil, err
	}
	i.giving.RLock()
	defer i.giving.RUnlock()
	if _, err := i.machineWith(machine, fingerprint, statement.KeyTLS); err != nil {
		return nil, err
	}
	now, err := i.clock.now()
	if err != nil {
		return nil, err
	}
	return i.keys.connections.Sign(ca.Connection{
		Key: key, Owner: string(machine), Names: names,
		After: now.Add(-certificateLead), Before: now.Add(tlsCertificateGood),
	})
}

// CACertificate returns the certificate of the authority for Brevet's own connections.
func (i *Issuer) CACertificate() *x509.Certificate { return i.keys.connections.Certificate() }
