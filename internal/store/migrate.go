package store

import (
	"context"
	"io/fs"

	"github.com/pressly/goose/v3"
	"gorm.io/gorm"

	"github.com/bluegate/bluegate/internal/fault"
)

// keyCheckName is the row of meta that recognises the encryption key.
const keyCheckName = "key_check"

// Migrate brings the schema up to date, and notes in a new database which
// encryption key is its own. Any number of processes may call it at once: they
// take turns. It is bounded by ctx alone, for a migration may take long.
// Errors: fault.Conflict "schemaTooNew" when a newer bluegate was here,
// "wrongKey" when the database belongs to another key; fault.Unavailable.
func (s *Store) Migrate(ctx context.Context) error {
	return s.classify(s.migrate(ctx))
}

func (s *Store) migrate(ctx context.Context) error {
	db, release, err := s.engine.lockMigrations(ctx, s.pools)
	if err != nil {
		return err
	}
	defer release()
	files, err := s.engine.migrations()
	if err != nil {
		return err
	}
	dialect := goose.DialectPostgres
	if s.Dialect() == "sqlite" {
		dialect = goose.DialectSQLite3
	}
	provider, err := goose.NewProvider(dialect, db, files,
		goose.WithDisableGlobalRegistry(true), goose.WithSlog(s.log))
	if err != nil {
		return err
	}
	// Under the lock: goose itself silently accepts a newer schema.
	current, want, err := provider.GetVersions(ctx)
	if err != nil {
		return err
	}
	if current > want {
		return errTooNew(current, want)
	}
	if _, err := provider.Up(ctx); err != nil {
		return err
	}
	s.metrics.version.Set(float64(want))
	// $1 is understood by both databases.
	if _, err := db.ExecContext(ctx, "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
		keyCheckName, s.sealer.checkValue()); err != nil {
		return err
	}
	var planted string
	if err := db.QueryRowContext(ctx, "SELECT value FROM meta WHERE name = $1", keyCheckName).Scan(&planted); err != nil {
		return err
	}
	return s.checkKey(planted)
}

// CheckSchema reports whether this program can work on the database: nil, or
// fault.Conflict with "schemaTooOld" (run bluegate migrate), "schemaTooNew" or
// "wrongKey" (the configured encryption key is not the database's), or
// fault.Unavailable.
func (s *Store) CheckSchema(ctx context.Context) error {
	current, want, err := s.SchemaVersion(ctx)
	switch {
	case err != nil:
		return err
	case current < want:
		return errTooOld(current, want)
	case current > want:
		return errTooNew(current, want)
	}
	return s.view(ctx, opCheckSchema, func(db *gorm.DB) error {
		var planted []string
		if err := db.Raw("SELECT value FROM meta WHERE name = ?", keyCheckName).Scan(&planted).Error; err != nil {
			return err
		}
		if len(planted) == 0 {
			// A migration that was cut before its last step.
			return errTooOld(current, want)
		}
		return s.checkKey(planted[0])
	})
}

// SchemaVersion returns the number of the newest migration that the database
// has (0: none) and of the newest that this program knows. It changes nothing.
// Error: fault.Unavailable.
func (s *Store) SchemaVersion(ctx context.Context) (current, want int64, err error) {
	if want, err = s.wantedVersion(); err != nil {
		return 0, 0, s.classify(err)
	}
	err = s.view(ctx, opSchemaVersion, func(db *gorm.DB) error {
		current = 0
		var tables int64
		if err := db.Raw(s.engine.statements().hasVersions).Scan(&tables).Error; err != nil || tables == 0 {
			return err
		}
		return db.Raw("SELECT COALESCE(MAX(version_id), 0) FROM goose_db_version").Scan(&current).Error
	})
	if err != nil {
		return 0, 0, err
	}
	s.metrics.version.Set(float64(current))
	return current, want, nil
}

// wantedVersion is the number of the newest migration file.
func (s *Store) wantedVersion() (int64, error) {
	files, err := s.engine.migrations()
	if err != nil {
		return 0, err
	}
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return 0, err
	}
	var newest int64
	for _, name := range names {
		n, err := goose.NumericComponent(name)
		if err != nil {
			return 0, err
		}
		newest = max(newest, n)
	}
	return newest, nil
}

func (s *Store) checkKey(planted string) error {
	if planted == s.sealer.checkValue() {
		return nil
	}
	return fault.Newf(fault.Conflict, "wrongKey",
		"The encryption key %s is not the one this database was set up with: put that one back.", s.sealer.keyID)
}

func errTooOld(current, want int64) *fault.Error {
	return fault.Newf(fault.Conflict, "schemaTooOld",
		"The database's schema is at version %d and this program needs %d: run bluegate migrate.", current, want)
}

func errTooNew(current, want int64) *fault.Error {
	return fault.Newf(fault.Conflict, "schemaTooNew",
		"The database's schema is at version %d, newer than this program, which knows %d: run a newer bluegate.", current, want)
}
