package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"github.com/bluegate/bluegate/internal/fault"
	"github.com/bluegate/bluegate/migrations"
)

const (
	pgMaxOpen        = 20
	pgMaxLifetime    = 30 * time.Minute
	pgMaxIdleTime    = 5 * time.Minute
	pgConnectTimeout = 2 * time.Second
	// pgServerTimeout bounds, on the server, every statement and every pause
	// between two of a transaction, so that a transaction which took a sequence
	// number is over soon even if its client froze. See FeedWindow.
	pgServerTimeout = "5s"
	// pgMigrationLock is the number of our advisory lock: "bluegate" in ASCII.
	pgMigrationLock int64 = 0x626c756567617465
)

// SQLSTATE codes that decisions rest on.
const (
	pgUniqueViolation   = "23505"
	pgClassConnection   = "08"
	pgClassIntervention = "57P"
)

type postgresEngine struct{ config *pgx.ConnConfig }

func newPostgresEngine(url string) (engine, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		// The cause quotes parts of the URL.
		return nil, fault.New(fault.Invalid, "invalidDatabaseURL",
			`The PostgreSQL URL can't be read: it must be like "postgres://user:password@host:5432/database?sslmode=require".`)
	}
	config.ConnectTimeout = pgConnectTimeout
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "bluegate"
	}
	// Conditional updates and the generation count are written for this level.
	config.RuntimeParams["default_transaction_isolation"] = "read committed"
	config.RuntimeParams["statement_timeout"] = pgServerTimeout
	config.RuntimeParams["idle_in_transaction_session_timeout"] = pgServerTimeout
	return postgresEngine{config: config}, nil
}

func (postgresEngine) name() string { return "postgres" }

func (postgresEngine) migrations() (fs.FS, error) { return migrations.Postgres() }

func (e postgresEngine) connect(context.Context) (pools, error) {
	db := stdlib.OpenDB(*e.config)
	db.SetMaxOpenConns(pgMaxOpen)
	db.SetMaxIdleConns(pgMaxOpen)
	db.SetConnMaxLifetime(pgMaxLifetime)
	db.SetConnMaxIdleTime(pgMaxIdleTime)
	g, err := gorm.Open(postgres.New(postgres.Config{Conn: db}), gormConfig())
	if err != nil {
		return pools{}, errors.Join(err, db.Close())
	}
	return pools{write: g, read: g, writeSQL: db, readSQL: db}, nil
}

// lockMigrations uses connections of its own: a migration and the wait for
// another's may take longer than the server allows to everything else.
func (e postgresEngine) lockMigrations(ctx context.Context, _ pools) (*sql.DB, func(), error) {
	config := e.config.Copy()
	config.RuntimeParams["statement_timeout"] = "0"
	config.RuntimeParams["idle_in_transaction_session_timeout"] = "0"
	db := stdlib.OpenDB(*config)
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	if _, err := conn.ExecContext(ctx, "SELECT pg_advisory_lock($1)", pgMigrationLock); err != nil {
		return nil, nil, errors.Join(err, conn.Close(), db.Close())
	}
	return db, func() {
		// The lock is the session's: closing the pool ends it.
		_ = conn.Close()
		_ = db.Close()
	}, nil
}

func (postgresEngine) lockServe() (func(), error) { return func() {}, nil }

func (postgresEngine) lostConnection(err error) bool {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return strings.HasPrefix(e.Code, pgClassConnection) || strings.HasPrefix(e.Code, pgClassIntervention)
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return false // that was a new connection already
	}
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return true
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

// unique finds the rule by the constraint's name, which is the rule's.
func (postgresEngine) unique(err error) (uniqueRule, bool) {
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || e.Code != pgUniqueViolation {
		return "", false
	}
	switch rule := uniqueRule(e.ConstraintName); rule {
	case ruleSlug, ruleScopeKey, ruleSecretValue, ruleHost, ruleServerName, ruleServerURL, ruleLiveRoom, ruleGeneration:
		return rule, true
	}
	return "", false
}

// scrub keeps the code and the constraint's name: message and detail may quote
// values.
func (postgresEngine) scrub(err error) error {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		if e.ConstraintName != "" {
			return fmt.Errorf("postgres: SQLSTATE %s (constraint %s)", e.Code, e.ConstraintName)
		}
		return fmt.Errorf("postgres: SQLSTATE %s", e.Code)
	}
	if e, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return e
	}
	return nil
}

func (postgresEngine) statements() statements {
	return statements{
		hasVersions: "SELECT COUNT(*) FROM (SELECT to_regclass('goose_db_version') AS r) AS t WHERE r IS NOT NULL",
		nextSeq:     "nextval('claim_seq')",
		seqGiven:    "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM claim_seq",
	}
}
