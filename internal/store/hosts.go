package store

import (
	"context"
	"regexp"
	"strings"

	"gorm.io/gorm"

	"github.com/bluegate/bluegate/internal/fault"
	"github.com/bluegate/bluegate/internal/tenant"
)

var hostPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)

type hostRow struct {
	Host     string
	TenantID int64
}

// AddHost makes a host name stand for a tenant. Errors: fault.Invalid;
// fault.Conflict "hostTaken", also when it is this tenant's already;
// fault.NotFound "tenantNotFound"; fault.Unavailable.
func (s *Store) AddHost(ctx context.Context, tenantID int64, host string) error {
	name, err := normalHost(host)
	if err != nil {
		return err
	}
	return s.configure(ctx, opAddHost, func(tx *gorm.DB) error {
		if err := tenantExists(tx, tenantID); err != nil {
			return err
		}
		return s.insertHost(tx, tenantID, name)
	})
}

func (s *Store) insertHost(tx *gorm.DB, tenantID int64, name string) error {
	err := tx.Exec("INSERT INTO tenant_hosts (host, tenant_id, created_at) VALUES (?, ?, ?)",
		name, tenantID, toMicros(s.stamp())).Error
	return s.conflicts(err, map[uniqueRule]*fault.Error{
		ruleHost: fault.Newf(fault.Conflict, "hostTaken", "The host name %q stands for a tenant already.", name),
	})
}

func readHosts(db *gorm.DB) ([]tenant.Host, error) {
	var rows []hostRow
	if err := db.Raw("SELECT host, tenant_id FROM tenant_hosts ORDER BY host").Scan(&rows).Error; err != nil {
		return nil, err
	}
	all := make([]tenant.Host, len(rows))
	for i, r := range rows {
		all[i] = tenant.Host{Name: r.Host, TenantID: r.TenantID}
	}
	return all, nil
}

// normalHost returns a host name as it is stored: in small letters, without the
// dot at the end.
func normalHost(host string) (string, error) {
	name := strings.TrimSuffix(strings.ToLower(host), ".")
	if !hostPattern.MatchString(name) || strings.Contains(name, "..") {
		return "", fault.Newf(fault.Invalid, "invalidHost", "%q is no valid host name; write it without scheme, port and path.", host)
	}
	return name, nil
}
