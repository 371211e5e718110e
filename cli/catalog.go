package cli

import (
	"context"
	"slices"

	"github.com/brevet-pim/brevet"
	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
)

// catalogInForce is the catalog that the server shows, verified.
type catalogInForce struct {
	statement.Catalog
	id statement.ID
	*proof.Compiled
}

// after is the place of the catalog statement that follows.
func (c catalogInForce) after() statement.Link {
	return statement.Link{Number: c.Number + 1, Previous: c.id}
}

// verifiedCatalog returns the catalog in force, having verified that as many persons as the root demands
// have signed it.
func (s *session) verifiedCatalog(ctx context.Context, state *proof.State) (catalogInForce, error) {
	got, err := s.catalog.GetCatalog(ctx, &brevetv1.GetCatalogRequest{})
	if err != nil {
		return catalogInForce{}, err
	}
	envelope, err := statement.Parse(got.GetStatement())
	if err != nil {
		return catalogInForce{}, err
	}
	signed, err := statement.Open[statement.Catalog](envelope)
	if err != nil {
		return catalogInForce{}, err
	}
	if signed.Org != state.Roster.Org() || signed.Manifest != digest(got.GetManifest()) {
		return catalogInForce{}, brevet.Errorf(brevet.Refused, "the catalog that the server shows is not the one that was signed")
	}
	people := map[brevet.PersonID]bool{}
	for _, sig := range envelope.Signatures {
		key, ok := state.Roster.Key(sig.Key, latest)
		if !ok || !mayHaveSigned(key, signed.At) {
			continue
		}
		if _, err := statement.Verify(envelope, sig, key.Public); err == nil {
			people[key.Person] = true
		}
	}
	if int64(len(people)) < state.Roster.Root().Threshold {
		return catalogInForce{}, brevet.Errorf(brevet.Refused, "too few of those who may have signed the catalog that the server shows")
	}
	compiled, err := proof.Compile(got.GetManifest())
	return catalogInForce{signed, envelope.ID(), compiled}, err
}

// mayHaveSigned reports whether the key could sign catalogs at the time. A key that was retired since
// counts for what it signed before it became suspect: a catalog outlives its signer's keys. The
// issuer, which knows the order of the log, does not go by the signer's word for the time.
func mayHaveSigned(k proof.Key, at int64) bool {
	retired := k.Retired != latest && at >= k.Since
	return slices.Contains(k.Uses, statement.UseCatalog) && k.From <= at && at < k.Until && !retired
}
