package app

import (
	"fmt"
	"io"
	"log/slog"
)

func (c Config) level() (slog.Level, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(c.LogLevel)); err != nil {
		return l, fmt.Errorf("log_level is %q: use debug, info, warn or error", c.LogLevel)
	}
	return l, nil
}

// NewLogger returns the logger the configuration asks for.
func NewLogger(c Config, w io.Writer) *slog.Logger {
	level, err := c.level()
	if err != nil {
		level = slog.LevelInfo
	}
	o := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "text" {
		return slog.New(slog.NewTextHandler(w, o))
	}
	return slog.New(slog.NewJSONHandler(w, o))
}
