package store

import (
	"strings"

	"github.com/bluegate/bluegate/internal/fault"
)

// parseURL finds the engine for a database URL. Its error never repeats the
// URL, which may hold a password.
func parseURL(raw string) (engine, error) {
	switch {
	case strings.HasPrefix(raw, "postgres://"), strings.HasPrefix(raw, "postgresql://"):
		return newPostgresEngine(raw)
	case strings.HasPrefix(raw, "sqlite:"):
		raw = strings.TrimPrefix(strings.TrimPrefix(raw, "sqlite:"), "//")
	case strings.HasPrefix(raw, "/"):
	default:
		return nil, fault.New(fault.Invalid, "invalidDatabaseURL",
			`The database URL must be "sqlite:/path/file.db" or "postgres://user@host/database".`)
	}
	if raw == "" || strings.HasPrefix(raw, ":memory:") || strings.ContainsRune(raw, 0) {
		return nil, fault.New(fault.Invalid, "invalidDatabaseURL", "The SQLite database must be a file.")
	}
	return sqliteEngine{path: raw}, nil
}
