package statement_test

import (
	"testing"

	"github.com/brevet-pim/brevet/statement"
)

func BenchmarkCanonical(b *testing.B) {
	b.Run("request", func(b *testing.B) {
		p := request(b)
		b.ReportAllocs()
		for b.Loop() {
			must(statement.Canonical(p))(b)
		}
	})
	b.Run("catalog of 1000 roles", func(b *testing.B) {
		c := manifest(1000)
		b.SetBytes(int64(len(must(statement.Canonical(c))(b))))
		b.ReportAllocs()
		for b.Loop() {
			must(statement.Canonical(c))(b)
		}
	})
}

// BenchmarkRequest takes in what a server takes in: the bytes of a request by one key.
func BenchmarkRequest(b *testing.B) {
	signer, private := fixedKey(b, "bob")
	for name, s := range map[string]statement.Signer{
		"sshsig": must(statement.SSHSigner(signer))(b), "machine": must(statement.MachineSigner(private))(b),
	} {
		e := must(statement.New(b.Context(), request(b), s))(b)
		wire := must(e.Marshal())(b)
		key := s.Key()
		b.Run(name+"/parse", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				must(statement.Parse(wire))(b)
			}
		})
		b.Run(name+"/open", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				must(statement.Open[statement.Request](e))(b)
			}
		})
		b.Run(name+"/verify", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				must(e.VerifiedBy(key))(b)
			}
		})
		b.Run(name+"/new", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				must(statement.New(b.Context(), request(b), s))(b)
			}
		})
	}
}
