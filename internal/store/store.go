// Package store keeps Bluegate's durable truth in SQL: tenants, servers and
// claims, on SQLite (one node) or PostgreSQL (any number of replicas). It alone
// knows gorm and the two databases; what it hands out are domain types, and
// what it fails with are faults.
//
// Secrets, meeting passwords, create parameters and create answers are sealed
// before they reach the database, and no error or log line repeats a value that
// was bound to a statement.
package store

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"gorm.io/gorm"

	"github.com/bluegate/bluegate/internal/fault"
)

// defaultQueryTimeout bounds an operation when Options say nothing.
const defaultQueryTimeout = 2 * time.Second

// Options are what a store is opened with.
type Options struct {
	// URL names the database: "sqlite:/path/file.db", "/path/file.db", or
	// "postgres://...".
	URL string
	// Key seals what is sensitive. It is required.
	Key Key
	// Logger may be nil.
	Logger *slog.Logger
	// Registerer may be nil.
	Registerer prometheus.Registerer
	// QueryTimeout bounds every operation (2 s by default); a nearer deadline
	// of the caller's context wins.
	QueryTimeout time.Duration
	// Now is the clock that stamps rows; time.Now by default.
	Now func() time.Time
}

// Store is an open database. Its methods may be called by many goroutines.
type Store struct {
	engine  engine
	pools   pools
	sealer  *sealer
	log     *slog.Logger
	timeout time.Duration
	now     func() time.Time
	metrics *metrics
	health  health

	closeOnce sync.Once
	closeErr  error
}

// pools are an engine's connections. On SQLite they are two, one writer and
// some readers; on PostgreSQL both names mean the same.
type pools struct {
	write, read       *gorm.DB
	writeSQL, readSQL *sql.DB
}

func (p pools) close() error {
	err := p.writeSQL.Close()
	if p.readSQL != p.writeSQL {
		if readErr := p.readSQL.Close(); err == nil {
			err = readErr
		}
	}
	return err
}

// engine is what differs between the databases.
type engine interface {
	// name is what Dialect returns.
	name() string
	// connect opens the pools without waiting for the database.
	connect(ctx context.Context) (pools, error)
	// migrations returns the schema files.
	migrations() (fs.FS, error)
	// lockMigrations waits until no other process migrates, and returns a pool
	// to migrate with, which release gives back.
	lockMigrations(ctx context.Context, p pools) (db *sql.DB, release func(), err error)
	// lockServe refuses a second server process if the database can't bear one.
	lockServe() (release func(), err error)
	// unique tells which uniqueness rule an error reports as violated.
	unique(err error) (uniqueRule, bool)
	// scrub returns what of an error may be logged: never a value.
	scrub(err error) error
	// lostConnection reports whether the error says that the connection broke,
	// so that a read may be asked again on another one.
	lostConnection(err error) bool
	// statements returns the SQL in which the databases differ.
	statements() statements
}

// statements is SQL, or parts of it, in which the databases differ.
type statements struct {
	// hasVersions tells whether the table of schema versions exists.
	hasVersions string
	// bumpSeq, if any, is executed before a statement with nextSeq in it.
	bumpSeq string
	// nextSeq is an expression: the sequence number of this change.
	nextSeq string
	// seqGiven reads the highest sequence number given out so far.
	seqGiven string
}

// Open connects to the database and waits for its answer. It neither migrates
// nor checks the schema: see Migrate and CheckSchema. Errors: fault.Invalid for
// options that can't work, fault.Unavailable when the database doesn't answer.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Key.IsZero() {
		return nil, fault.New(fault.Invalid, "noKey", "The store needs an encryption key.")
	}
	e, err := parseURL(o.URL)
	if err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.QueryTimeout <= 0 {
		o.QueryTimeout = defaultQueryTimeout
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	sealer, err := newSealer(o.Key)
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, err
	}
	s := &Store{engine: e, sealer: sealer, log: o.Logger, timeout: o.QueryTimeout, now: o.Now, metrics: m}
	bound, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if s.pools, err = e.connect(bound); err != nil {
		m.unregister()
		return nil, s.classify(err)
	}
	if err := s.Ping(ctx); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// Close gives the connections back. Calling it again does nothing more.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		s.metrics.unregister()
		s.closeErr = s.pools.close()
	})
	return s.closeErr
}

// Dialect returns "sqlite" or "postgres".
func (s *Store) Dialect() string { return s.engine.name() }

// Ping asks the database for a sign of life. Error: fault.Unavailable.
func (s *Store) Ping(ctx context.Context) error {
	return s.view(ctx, opPing, func(db *gorm.DB) error {
		var one int
		return db.Raw("SELECT 1").Scan(&one).Error
	})
}

// LockServe makes this process the only one that serves from the database,
// where only one may: a second one on the same SQLite file is refused
// (fault.Conflict, "alreadyServing"). On PostgreSQL it does nothing.
func (s *Store) LockServe() (release func(), err error) {
	return s.engine.lockServe()
}

// view runs a read. One that met a broken connection is asked again.
func (s *Store) view(ctx context.Context, op operation, read func(db *gorm.DB) error) error {
	return s.do(ctx, op, func(ctx context.Context) error {
		return s.pastBroken(ctx, func() (begun bool, err error) {
			return false, read(s.pools.read.WithContext(ctx))
		})
	})
}

// update runs a change in one transaction. It is not repeated once it has
// begun: a connection that breaks at the commit leaves open what happened.
func (s *Store) update(ctx context.Context, op operation, change func(tx *gorm.DB) error) error {
	return s.do(ctx, op, func(ctx context.Context) error {
		return s.pastBroken(ctx, func() (begun bool, err error) {
			err = s.pools.write.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
				begun = true
				return change(tx)
			})
			return begun, err
		})
	})
}

// pastBroken repeats what failed on a connection that the database had dropped
// while it lay in the pool, until one works or has to be opened anew: after a
// restart of the database a whole pool of such must not fail a request each.
func (s *Store) pastBroken(ctx context.Context, try func() (begun bool, err error)) error {
	for tries := 0; ; tries++ {
		begun, err := try()
		if err == nil || begun || tries == pgMaxOpen || ctx.Err() != nil || !s.worthAnother(err) {
			return err
		}
	}
}

// worthAnother reports whether an error is no answer to this very call, whose
// own context is alive: a dropped connection, or the context of somebody else
// for whom gorm was preparing the same statement.
func (s *Store) worthAnother(err error) bool {
	return s.engine.lostConnection(err) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// do bounds, measures and classifies an operation.
func (s *Store) do(ctx context.Context, op operation, run func(ctx context.Context) error) error {
	start := time.Now()
	bound, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	err := s.classify(run(bound))
	s.observe(ctx, op, time.Since(start), err)
	return err
}

// stamp returns the time that is written into rows.
func (s *Store) stamp() time.Time {
	return s.now().UTC().Truncate(time.Microsecond)
}

// toMicros and fromMicros are how times lie in the database.
func toMicros(t time.Time) int64 { return t.UnixMicro() }

func fromMicros(us int64) time.Time { return time.UnixMicro(us).UTC() }

func toMicrosPtr(t *time.Time) *int64 {
	if t == nil {
		return nil
	}
	us := toMicros(*t)
	return &us
}

func fromMicrosPtr(us *int64) *time.Time {
	if us == nil {
		return nil
	}
	t := fromMicros(*us)
	return &t
}
