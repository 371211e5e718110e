package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"

	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet/issuer/ca"
)

// measureSigning compares an SSH certificate with the bare signature in it, on one core, by turns.
func measureSigning(_ context.Context, o options, r *report) error {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	authority, err := ca.NewSSH(key)
	if err != nil {
		return err
	}
	holder, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	public, err := ssh.NewPublicKey(holder)
	if err != nil {
		return err
	}
	c := ca.Certificate{
		Key: public, Serial: 7, KeyID: "grt_0000000000000000000000000 bob", Principals: []string{"web1/root", "web2/root"},
		After: 1, Before: 2, Extensions: map[string]string{"permit-pty": ""},
	}
	message := make([]byte, 400) // as long as what is signed of such a certificate
	var whole, bare times
	for range 10 {
		w, err := measured(o.signing/10, func() error { _, err := authority.SignUser(c); return err })
		if err != nil {
			return err
		}
		b, err := measured(o.signing/10, func() error { ed25519.Sign(key, message); return nil })
		if err != nil {
			return err
		}
		whole, bare = append(whole, w...), append(bare, b...)
	}
	half := whole.at(50) <= 2*bare.at(50)
	r.section("Certificate signing, Ed25519, one core",
		row{"SSH user certificate", fmt.Sprintf("%.0f/s  %s", perSecond(whole), whole), fmt.Sprintf("bare signature: %.0f/s  %s", perSecond(bare), bare),
			ratioOf(bare.at(50), whole.at(50)), "≥ 0.5 of the raw key's rate", half})
	return nil
}

// perSecond is the rate of one caller by the median, which what else runs on the machine moves least.
func perSecond(t times) float64 { return 1 / max(t.at(50).Seconds(), 1e-9) }
