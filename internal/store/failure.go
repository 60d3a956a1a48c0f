package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/bluegate/bluegate/internal/fault"
)

// keyUnavailable is the key of every failure to reach the database.
const keyUnavailable = "storeUnavailable"

// uniqueRule is a uniqueness rule of the schema, whichever database reports it.
type uniqueRule string

// The rules that callers are told about.
const (
	ruleSlug        uniqueRule = "tenants_slug"
	ruleScopeKey    uniqueRule = "tenants_scope_key"
	ruleSecretValue uniqueRule = "tenant_secrets_value"
	ruleHost        uniqueRule = "tenant_hosts_pkey"
	ruleServerName  uniqueRule = "servers_name"
	ruleServerURL   uniqueRule = "servers_api_url"
	ruleLiveRoom    uniqueRule = "claims_live_room"
	ruleGeneration  uniqueRule = "claims_generation"
)

// classify turns whatever an operation failed with into a fault. What is one
// already stays; everything else means that we can't know: Unavailable, with
// the cause reduced to what may be logged.
func (s *Store) classify(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return e
	}
	return fault.Wrap(fault.Unavailable, keyUnavailable, "The database can't be asked right now.", s.scrub(err))
}

// scrub reduces an error to what may be logged. Databases and database/sql
// quote values in their messages, so only errors known to hold none keep theirs.
func (s *Store) scrub(err error) error {
	for _, plain := range []error{
		context.DeadlineExceeded, context.Canceled, sql.ErrConnDone, sql.ErrTxDone,
		driver.ErrBadConn, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed,
	} {
		if errors.Is(err, plain) {
			return plain
		}
	}
	if known := s.engine.scrub(err); known != nil {
		return known
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e
	}
	return fmt.Errorf("error of type %T", err)
}

// conflicts maps the uniqueness rules an operation may meet to what its caller
// is told; an error that reports none of them stays as it is.
func (s *Store) conflicts(err error, told map[uniqueRule]*fault.Error) error {
	if err == nil {
		return nil
	}
	if rule, ok := s.engine.unique(err); ok {
		if e, ok := told[rule]; ok {
			return e
		}
	}
	return err
}
