package catalog

import (
	"fmt"
	"testing"

	"github.com/brevet-pim/brevet"
)

// largeCatalog is an organisation of 10,000 people with 1,000 roles and 1,000 targets.
func largeCatalog() brevet.Catalog {
	c := goodCatalog()
	for i := range 1000 {
		role, target := c.Roles[0], c.Targets[0]
		role.Name = brevet.RoleName(fmt.Sprintf("role-%04d", i))
		target.ID = brevet.TargetID(fmt.Sprintf("target-%04d", i))
		c.Roles, c.Targets = append(c.Roles, role), append(c.Targets, target)
	}
	everybody := brevet.Group{Name: "everybody"}
	for i := range 10_000 {
		everybody.Members = append(everybody.Members, brevet.PersonID(fmt.Sprintf("person-%05d", i)))
	}
	c.Groups = append(c.Groups, everybody)
	return Normalise(c)
}

func BenchmarkLarge(b *testing.B) {
	c := largeCatalog()
	written, err := Format(c)
	if err != nil {
		b.Fatal(err)
	}
	manifest, _, err := Manifest(c)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("read files", func(b *testing.B) {
		for b.Loop() {
			if _, problems := readFiles(written); problems.Err() != nil {
				b.Fatal(problems.Err())
			}
		}
	})
	b.Run("manifest", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := Manifest(c); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("parse", func(b *testing.B) {
		b.SetBytes(int64(len(manifest)))
		for b.Loop() {
			if _, err := Parse(manifest); err != nil {
				b.Fatal(err)
			}
		}
	})
}
