// Package migrations holds the database schema: numbered SQL files for each
// database, applied forward only. A released file is never edited; a change of
// the schema is a new file in both folders under the same number.
package migrations

import (
	"embed"
	"io/fs"
)

// files can't be a constant, but nothing ever assigns to it.
//
//go:embed sqlite/*.sql postgres/*.sql
var files embed.FS

// SQLite returns the migrations of the SQLite schema.
func SQLite() (fs.FS, error) { return fs.Sub(files, "sqlite") }

// Postgres returns the migrations of the PostgreSQL schema.
func Postgres() (fs.FS, error) { return fs.Sub(files, "postgres") }
