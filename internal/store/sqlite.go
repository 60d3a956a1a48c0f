package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"

	"gorm.io/gorm"
	sqlite "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/bluegate/bluegate/internal/fault"
	"github.com/bluegate/bluegate/migrations"
)

// sqliteReaders is the size of the reader pool. Writers take turns in a pool of
// one: SQLite has one writer anyway, and a queue of ours is fair where its
// busy-wait starves.
const sqliteReaders = 4

type sqliteEngine struct{ path string }

func (sqliteEngine) name() string { return "sqlite" }

func (sqliteEngine) migrations() (fs.FS, error) { return migrations.SQLite() }

func (e sqliteEngine) connect(context.Context) (p pools, err error) {
	// SQLite would create the file readable by everyone.
	f, err := os.OpenFile(e.path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		kind := fault.Unavailable
		if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
			kind = fault.Invalid // waiting won't help
		}
		return pools{}, fault.New(kind, keyUnavailable, "The database file can't be opened: "+err.Error()+".")
	}
	if err := f.Close(); err != nil {
		return pools{}, err
	}
	if p.writeSQL, err = sql.Open("sqlite", e.dsn(url.Values{"_txlock": {"immediate"}})); err != nil {
		return pools{}, err
	}
	p.writeSQL.SetMaxOpenConns(1)
	if p.readSQL, err = sql.Open("sqlite", e.dsn(url.Values{"_query_only": {"1"}})); err != nil {
		return pools{}, errors.Join(err, p.writeSQL.Close())
	}
	p.readSQL.SetMaxOpenConns(sqliteReaders)
	p.readSQL.SetMaxIdleConns(sqliteReaders)
	if p.write, err = gorm.Open(sqliteDialector{p.writeSQL}, gormConfig()); err != nil {
		return pools{}, errors.Join(err, p.close())
	}
	// Readers keep their statements: parsing is the greater part of a look-up.
	prepared := gormConfig()
	prepared.PrepareStmt = true
	if p.read, err = gorm.Open(sqliteDialector{p.readSQL}, prepared); err != nil {
		return pools{}, errors.Join(err, p.close())
	}
	return p, nil
}

// dsn returns what the driver opens: write-ahead log, so that readers and the
// writer don't wait for each other; synchronous=FULL, because a claim that was
// committed must survive a power cut (NORMAL may lose the last ones).
func (e sqliteEngine) dsn(more url.Values) string {
	q := url.Values{
		"_journal_mode": {"WAL"},
		"_synchronous":  {"FULL"},
		"_foreign_keys": {"1"},
		"_busy_timeout": {"5000"},
	}
	for k, v := range more {
		q[k] = v
	}
	return (&url.URL{Scheme: "file", Opaque: escapePath(e.path), RawQuery: q.Encode()}).String()
}

// escapePath escapes what would end the path in a file: URI.
func escapePath(path string) string {
	return strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path)
}

func (e sqliteEngine) lockMigrations(ctx context.Context, p pools) (*sql.DB, func(), error) {
	release, err := waitFileLock(ctx, e.path+".migrate.lock")
	if err != nil {
		return nil, nil, err
	}
	return p.writeSQL, release, nil
}

func (e sqliteEngine) lockServe() (func(), error) {
	release, err := tryFileLock(e.path + ".serve.lock")
	if errors.Is(err, errLocked) {
		return nil, fault.New(fault.Conflict, "alreadyServing",
			"Another bluegate serves from this SQLite file. Stop it first, or use PostgreSQL for more than one replica.")
	}
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, keyUnavailable, "The lock file beside the database can't be opened.", err)
	}
	return release, nil
}

func (sqliteEngine) lostConnection(error) bool { return false }

// unique finds the rule by the columns that SQLite names in its message.
func (sqliteEngine) unique(err error) (uniqueRule, bool) {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok || (e.Code() != sqlite3.SQLITE_CONSTRAINT_UNIQUE && e.Code() != sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY) {
		return "", false
	}
	_, columns, ok := strings.Cut(e.Error(), "UNIQUE constraint failed: ")
	if !ok {
		return "", false
	}
	if i := strings.LastIndex(columns, " ("); i >= 0 {
		columns = columns[:i]
	}
	switch columns {
	case "tenants.slug":
		return ruleSlug, true
	case "tenants.scope_key":
		return ruleScopeKey, true
	case "tenant_secrets.tenant_id, tenant_secrets.fingerprint":
		return ruleSecretValue, true
	case "tenant_hosts.host":
		return ruleHost, true
	case "servers.name":
		return ruleServerName, true
	case "servers.api_url":
		return ruleServerURL, true
	case "claims.tenant_id, claims.external_id":
		return ruleLiveRoom, true
	case "claims.tenant_id, claims.external_id, claims.generation":
		return ruleGeneration, true
	}
	return "", false
}

func (sqliteEngine) scrub(err error) error {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return nil
	}
	// Only primary codes have a text; an extended one holds its own in the last byte.
	return fmt.Errorf("sqlite: code %d (%s)", e.Code(), sqlite.ErrorCodeString[e.Code()&0xff])
}

func (sqliteEngine) statements() statements {
	return statements{
		hasVersions: "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'goose_db_version'",
		bumpSeq:     "UPDATE counters SET value = value + 1 WHERE name = 'claim_seq'",
		nextSeq:     "(SELECT value FROM counters WHERE name = 'claim_seq')",
		seqGiven:    "SELECT value FROM counters WHERE name = 'claim_seq'",
	}
}
