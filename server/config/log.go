package config

import (
	"cmp"
	"log/slog"
	"slices"
	"strings"
)

// Log is what a process tells of itself, on standard error.
type Log struct {
	// Level is debug, info, warn or error. Default info.
	Level string `yaml:"level,omitempty"`
	// Format is text or json. Default text.
	Format string `yaml:"format,omitempty"`
}

func (l *Log) fill() {
	l.Level = cmp.Or(l.Level, "info")
	l.Format = cmp.Or(l.Format, "text")
}

func (l Log) rule() rule {
	return rule{!slices.Contains([]string{"debug", "info", "warn", "error"}, l.Level), "log.level: one of debug, info, warn, error"}
}

func (l Log) formatRule() rule {
	return rule{l.Format != "text" && l.Format != "json", "log.format: text or json"}
}

// Slog returns the level in the words of log/slog.
func (l Log) Slog() slog.Level {
	var level slog.Level
	// validate has seen that it is one of the four, which UnmarshalText knows.
	_ = level.UnmarshalText([]byte(strings.ToUpper(l.Level)))
	return level
}
