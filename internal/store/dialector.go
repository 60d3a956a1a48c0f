package store

import (
	"errors"

	"gorm.io/gorm"
	"gorm.io/gorm/callbacks"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"
	"gorm.io/gorm/schema"
)

// sqliteDialector tells gorm how SQLite's SQL looks. gorm's own dialect links
// a second SQLite, written in C, that nothing here uses, and brings a schema
// migrator that must not be used; this is the part that is left.
type sqliteDialector struct{ conn gorm.ConnPool }

var _ gorm.Dialector = sqliteDialector{}

func (sqliteDialector) Name() string { return "sqlite" }

func (d sqliteDialector) Initialize(db *gorm.DB) error {
	db.ConnPool = d.conn
	callbacks.RegisterDefaultCallbacks(db, &callbacks.Config{
		CreateClauses: []string{"INSERT", "VALUES", "ON CONFLICT", "RETURNING"},
		UpdateClauses: []string{"UPDATE", "SET", "FROM", "WHERE", "RETURNING"},
		DeleteClauses: []string{"DELETE", "FROM", "WHERE", "RETURNING"},
	})
	return nil
}

// Migrator returns nil: the schema is made by the files of package migrations.
func (sqliteDialector) Migrator(*gorm.DB) gorm.Migrator { return nil }

func (sqliteDialector) DataTypeOf(*schema.Field) string { return "" }

func (sqliteDialector) DefaultValueOf(*schema.Field) clause.Expression {
	return clause.Expr{SQL: "NULL"}
}

func (sqliteDialector) BindVarTo(w clause.Writer, _ *gorm.Statement, _ any) {
	_ = w.WriteByte('?')
}

// QuoteTo quotes a name, which may be "table.column".
func (sqliteDialector) QuoteTo(w clause.Writer, name string) {
	_ = w.WriteByte('"')
	for _, r := range name {
		switch r {
		case '.':
			_, _ = w.WriteString(`"."`)
		case '"':
			_, _ = w.WriteString(`""`)
		default:
			_, _ = w.WriteString(string(r))
		}
	}
	_ = w.WriteByte('"')
}

// Explain returns the statement without its values: it is for logs.
func (sqliteDialector) Explain(sql string, _ ...any) string { return sql }

// Translate keeps gorm from changing errors: see engine.unique.
func (sqliteDialector) Translate(err error) error { return err }

// SavePoint and RollbackTo make nested transactions an error: none is meant.
func (sqliteDialector) SavePoint(*gorm.DB, string) error { return errNested }

// RollbackTo is never reached.
func (sqliteDialector) RollbackTo(*gorm.DB, string) error { return errNested }

var errNested = errors.New("store: transactions don't nest")

// gormConfig is the same for both databases. Silent, because gorm logs bound
// values; without its own transactions, because every change here has one.
func gormConfig() *gorm.Config {
	return &gorm.Config{
		Logger:                 logger.Discard,
		SkipDefaultTransaction: true,
		DisableAutomaticPing:   true,
	}
}
