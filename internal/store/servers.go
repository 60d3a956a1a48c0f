package store

import (
	"context"
	"errors"

	"gorm.io/gorm"

	"github.com/bluegate/bluegate/internal/fault"
	"github.com/bluegate/bluegate/internal/pool"
)

// The defaults of a server that is added without saying.
const (
	defaultAlgorithm = "sha256"
	defaultPool      = "default"
)

type serverRow struct {
	ID            int64
	Name          string
	APIURL        string `gorm:"column:api_url"`
	PublicURL     string `gorm:"column:public_url"`
	KeyID         string
	SealedSecret  []byte
	Algorithm     string
	CapacitySeats int
	Pool          string
	AdminState    string
	CreatedAt     int64
}

func (s *Store) server(r serverRow) (pool.Server, error) {
	secret, err := s.sealer.open(sealServerSecret, 0, r.KeyID, r.SealedSecret)
	if err != nil {
		return pool.Server{}, err
	}
	return pool.Server{
		ID: r.ID, Name: r.Name, APIURL: r.APIURL, PublicURL: r.PublicURL, Secret: string(secret),
		Algorithm: r.Algorithm, CapacitySeats: r.CapacitySeats, Pool: r.Pool,
		AdminState: pool.AdminState(r.AdminState), CreatedAt: fromMicros(r.CreatedAt),
	}, nil
}

// AddServer adds a BBB server and returns it with ID and CreatedAt set. The
// defaults: PublicURL is APIURL, Algorithm sha256, Pool "default", AdminState
// enabled. Errors: fault.Invalid; fault.Conflict "serverNameTaken" or
// "serverURLTaken"; fault.Unavailable.
func (s *Store) AddServer(ctx context.Context, v pool.Server) (pool.Server, error) {
	if v.PublicURL == "" {
		v.PublicURL = v.APIURL
	}
	if v.Algorithm == "" {
		v.Algorithm = defaultAlgorithm
	}
	if v.Pool == "" {
		v.Pool = defaultPool
	}
	if v.AdminState == "" {
		v.AdminState = pool.Enabled
	}
	if err := checkServer(v); err != nil {
		return pool.Server{}, err
	}
	v.CreatedAt = s.stamp()
	err := s.configure(ctx, opAddServer, func(tx *gorm.DB) error {
		err := tx.Raw(`INSERT INTO servers
			(name, api_url, public_url, key_id, sealed_secret, algorithm, capacity_seats, pool, admin_state, created_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id`,
			v.Name, v.APIURL, v.PublicURL, s.sealer.keyID, s.sealer.seal(sealServerSecret, 0, []byte(v.Secret)),
			v.Algorithm, v.CapacitySeats, v.Pool, string(v.AdminState), toMicros(v.CreatedAt)).Scan(&v.ID).Error
		return s.conflicts(err, map[uniqueRule]*fault.Error{
			ruleServerName: fault.Newf(fault.Conflict, "serverNameTaken", "A server named %q exists already.", v.Name),
			ruleServerURL:  fault.Newf(fault.Conflict, "serverURLTaken", "A server with the API URL %q exists already.", v.APIURL),
		})
	})
	if err != nil {
		return pool.Server{}, err
	}
	return v, nil
}

// Servers returns all servers in the order they were added. Error:
// fault.Unavailable, with the key "wrongKey" when their secrets were sealed
// with another key.
func (s *Store) Servers(ctx context.Context) ([]pool.Server, error) {
	var all []pool.Server
	err := s.view(ctx, opServers, func(db *gorm.DB) error {
		var rows []serverRow
		err := db.Raw(`SELECT id, name, api_url, public_url, key_id, sealed_secret, algorithm, capacity_seats, pool,
			admin_state, created_at FROM servers ORDER BY id`).Scan(&rows).Error
		if err != nil {
			return err
		}
		all = make([]pool.Server, len(rows))
		for i, r := range rows {
			if all[i], err = s.server(r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// SetServerAdminState sets what the operator wants of a server. Errors:
// fault.Invalid, fault.NotFound "serverNotFound", fault.Unavailable.
func (s *Store) SetServerAdminState(ctx context.Context, id int64, st pool.AdminState) error {
	if err := checkAdminState(st); err != nil {
		return err
	}
	return s.configure(ctx, opSetServerState, func(tx *gorm.DB) error {
		return oneRow(tx.Exec("UPDATE servers SET admin_state = ? WHERE id = ?", string(st), id), errNoServer())
	})
}

// SetServerSecret changes a server's secret and the algorithm to sign with.
// Errors: fault.Invalid, fault.NotFound "serverNotFound", fault.Unavailable.
func (s *Store) SetServerSecret(ctx context.Context, id int64, secret, algorithm string) error {
	if secret == "" {
		return fault.New(fault.Invalid, "invalidServer", "A server needs a secret.")
	}
	if err := errors.Join(checkSecret(secret), checkAlgorithm(algorithm)); err != nil {
		return err
	}
	return s.configure(ctx, opRekeyServer, func(tx *gorm.DB) error {
		return oneRow(tx.Exec("UPDATE servers SET key_id = ?, sealed_secret = ?, algorithm = ? WHERE id = ?",
			s.sealer.keyID, s.sealer.seal(sealServerSecret, 0, []byte(secret)), algorithm, id), errNoServer())
	})
}

func errNoServer() *fault.Error {
	return fault.New(fault.NotFound, "serverNotFound", "There is no such server.")
}

func checkAlgorithm(name string) error {
	switch name {
	case "sha1", "sha256", "sha384", "sha512":
		return nil
	}
	return fault.New(fault.Invalid, "invalidAlgorithm", "The algorithm must be sha1, sha256, sha384 or sha512.")
}

func checkServer(v pool.Server) error {
	if err := checkAdminState(v.AdminState); err != nil {
		return err
	}
	if err := checkSecret(v.Secret); err != nil {
		return err
	}
	for what, text := range map[string]string{"name": v.Name, "API URL": v.APIURL, "public URL": v.PublicURL, "pool": v.Pool} {
		if err := checkText(what, text); err != nil {
			return err
		}
	}
	if err := checkAlgorithm(v.Algorithm); err != nil {
		return err
	}
	switch {
	case v.Name == "" || v.APIURL == "" || v.Secret == "":
		return fault.New(fault.Invalid, "invalidServer", "A server needs a name, an API URL and a secret.")
	case v.CapacitySeats < 0:
		return fault.New(fault.Invalid, "invalidServer", "A server's capacity can't be negative.")
	}
	return nil
}

func checkAdminState(st pool.AdminState) error {
	switch st {
	case pool.Enabled, pool.Draining, pool.Disabled:
		return nil
	}
	return fault.New(fault.Invalid, "invalidState", "A server is enabled, draining or disabled.")
}
