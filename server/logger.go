package server

import (
	"io"
	"log/slog"

	"github.com/brevet-pim/brevet/server/config"
)

// newLogger returns what a process tells of itself. Secrets do not get there: brevet.Secret and
// the tokens of package enrol show a mark instead.
func newLogger(w io.Writer, c config.Log) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.Slog()}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
