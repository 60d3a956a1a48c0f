package app

import (
	"context"
	"errors"
	"log/slog"

	"github.com/bluegate/bluegate/internal/fault"
	"github.com/bluegate/bluegate/internal/store"
)

// OpenStore opens the configured database for an operator's command. A single
// node's is brought up to date; on PostgreSQL an old schema is an error that
// says what to do.
func OpenStore(ctx context.Context, c Config) (*store.Store, error) {
	s, err := open(ctx, c)
	if err != nil {
		return nil, err
	}
	check := s.CheckSchema
	if c.onePlace() {
		check = s.Migrate
	}
	if err := check(ctx); err != nil {
		return nil, errors.Join(withCause(err), s.Close())
	}
	return s, nil
}

// Migrate brings the database's schema up to date and returns its version.
func Migrate(ctx context.Context, c Config) (int64, error) {
	s, err := open(ctx, c)
	if err != nil {
		return 0, err
	}
	defer func() { _ = s.Close() }()
	if err := s.Migrate(ctx); err != nil {
		return 0, withCause(err)
	}
	version, _, err := s.SchemaVersion(ctx)
	return version, err
}

func open(ctx context.Context, c Config) (*store.Store, error) {
	key, _, err := c.Key()
	if err != nil {
		return nil, err
	}
	s, err := store.Open(ctx, store.Options{URL: c.database(), Key: key, Logger: slog.New(slog.DiscardHandler)})
	return s, withCause(err)
}

// withCause puts the cause of an unavailable database into its message: an
// operator at the command line needs it. It holds no secret.
func withCause(err error) error {
	if err == nil {
		return nil
	}
	f := fault.As(err)
	if f.Kind != fault.Unavailable || f.Err == nil {
		return err
	}
	return fault.Wrap(f.Kind, f.Key, f.Message+" ("+f.Err.Error()+")", f.Err)
}
