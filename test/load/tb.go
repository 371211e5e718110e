package main

import (
	"context"
	"fmt"
	"os"
	"testing"
)

// bench lets what is made for tests (package proof/prooftest) be made here: it is a testing.TB
// outside of go test. What fails there ends the section.
type bench struct {
	testing.TB // nil: whatever is not below is not used
	ctx        context.Context
	dir        string
	cleanups   []func()
}

// failure is what Fatal panics with.
type failure struct{ error }

// newBench has its folders below dir.
func newBench(ctx context.Context, dir string) *bench { return &bench{ctx: ctx, dir: dir} }

// run runs the section, and cleans up what it made.
func (b *bench) run(section func() error) (err error) {
	defer func() {
		for i := len(b.cleanups) - 1; i >= 0; i-- {
			b.cleanups[i]()
		}
		switch what := recover().(type) {
		case nil:
		case failure:
			err = what
		default:
			panic(what)
		}
	}()
	return section()
}

func (b *bench) Helper()                   {}
func (b *bench) Context() context.Context  { return b.ctx }
func (b *bench) Cleanup(f func())          { b.cleanups = append(b.cleanups, f) }
func (b *bench) Fatal(args ...any)         { panic(failure{fmt.Errorf("%s", fmt.Sprint(args...))}) }
func (b *bench) Fatalf(f string, a ...any) { panic(failure{fmt.Errorf(f, a...)}) }
func (b *bench) Errorf(f string, a ...any) { b.Fatalf(f, a...) }
func (b *bench) Failed() bool              { return false }

func (b *bench) TempDir() string {
	dir, err := os.MkdirTemp(b.dir, "")
	if err != nil {
		b.Fatal(err)
	}
	return dir
}
