package catalog

import (
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"

	"golang.org/x/crypto/ssh"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/policy"
	"github.com/brevet-pim/brevet/statement"
)

// Manifest returns the canonical bytes of the catalog (RFC 8785), which Parse reads, and their
// SHA-256 in hex, which a catalog statement signs. A catalog that breaks a rule is Invalid.
func Manifest(c brevet.Catalog) (manifest []byte, digest string, err error) {
	if err := Check(c).Err(); err != nil {
		return nil, "", err
	}
	manifest, err = statement.Canonical(c)
	if err != nil {
		return nil, "", err
	}
	if len(manifest) > MaxTotal {
		return nil, "", brevet.Errorf(brevet.Limited, "the catalog has %d bytes, more than %d MiB", len(manifest), MaxTotal>>20)
	}
	return manifest, Digest(manifest), nil
}

// Normalise returns a copy of the catalog in the order that Manifest wants: every list sorted.
// Catalogs that were read are in it already; those put together by a program are not.
func Normalise(c brevet.Catalog) brevet.Catalog {
	c = clone(c)
	normalise(&c)
	return c
}

// Digest returns the SHA-256 of a manifest, in hex.
func Digest(manifest []byte) string {
	sum := sha256.Sum256(manifest)
	return hex.EncodeToString(sum[:])
}

// Parse reads a manifest. It accepts only bytes that Manifest would have written: canonical, with
// every rule kept. Its errors are Invalid.
func Parse(manifest []byte) (brevet.Catalog, error) {
	c, err := statement.Decode[brevet.Catalog](manifest, MaxTotal)
	if err != nil {
		return brevet.Catalog{}, err
	}
	if err := Check(c).Err(); err != nil {
		return brevet.Catalog{}, err
	}
	return c, nil
}

// Check returns everything wrong or odd in a catalog that does not come from files, policies
// included. What it means together, who can get what, is policy.Set's Lint.
func Check(c brevet.Catalog) Problems {
	k := checker{catalog: c}
	return few(append(k.check(), policy.Check(c.Policies)...))
}

// RoleDigest returns the SHA-256, in hex, of the role's canonical JSON: what a request names, so
// that a role that changed meanwhile is another role.
func RoleDigest(r brevet.Role) (string, error) {
	b, err := statement.Canonical(r)
	if err != nil {
		return "", err
	}
	return Digest(b), nil
}

func rsaBits(key ssh.PublicKey) int {
	crypto, ok := key.(ssh.CryptoPublicKey)
	if !ok {
		return 0
	}
	public, ok := crypto.CryptoPublicKey().(*rsa.PublicKey)
	if !ok {
		return 0
	}
	return public.N.BitLen()
}
