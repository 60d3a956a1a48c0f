package store

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bluegate/bluegate/internal/fault"
)

// operation is the label value of an operation.
type operation string

const (
	opPing           operation = "ping"
	opSchemaVersion  operation = "schema_version"
	opCheckSchema    operation = "check_schema"
	opCreateTenant   operation = "create_tenant"
	opAddSecret      operation = "add_secret"
	opExpireSecret   operation = "expire_secret"
	opRevokeSecret   operation = "revoke_secret"
	opAddHost        operation = "add_host"
	opTenants        operation = "tenants"
	opTenantBySlug   operation = "tenant_by_slug"
	opSetTenantState operation = "set_tenant_state"
	opListing        operation = "listing"
	opAddServer      operation = "add_server"
	opServers        operation = "servers"
	opSetServerState operation = "set_server_admin_state"
	opRekeyServer    operation = "rekey_server"
	opRoom           operation = "room"
	opByInternalID   operation = "by_internal_id"
	opClaim          operation = "claim"
	opMove           operation = "move"
	opLive           operation = "live"
	opChanges        operation = "changes"
	opConfigVersion  operation = "config_version"
)

// operations is every operation.
func operations() []operation {
	return []operation{
		opPing, opSchemaVersion, opCheckSchema, opCreateTenant, opAddSecret, opExpireSecret, opRevokeSecret, opAddHost,
		opTenants, opTenantBySlug, opSetTenantState, opListing, opAddServer, opServers, opSetServerState, opRekeyServer, opRoom,
		opByInternalID, opClaim, opMove, opLive, opChanges, opConfigVersion,
	}
}

const (
	metricsNamespace = "bluegate"
	metricsSubsystem = "store"
	// The buckets reach from 0.1 ms to 2 s.
	bucketStart  = 0.0001
	bucketFactor = 3
	bucketCount  = 10
)

const (
	healthUp   int32 = 1
	healthDown int32 = 2
)

// health is what the last operations said of the database.
type health struct{ state atomic.Int32 }

// metrics are the package's figures. Without a registerer they count unseen.
type metrics struct {
	registerer prometheus.Registerer
	up         prometheus.Gauge
	version    prometheus.Gauge
	duration   *prometheus.HistogramVec
	errors     *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		registerer: r,
		up: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: metricsNamespace, Subsystem: metricsSubsystem, Name: "up",
			Help: "Whether the database answered the last operation (1) or not (0).",
		}),
		version: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: metricsNamespace, Subsystem: metricsSubsystem, Name: "migration_version",
			Help: "Number of the newest migration that the database has.",
		}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: metricsNamespace, Subsystem: metricsSubsystem, Name: "operation_duration_seconds",
			Help:    "Time that operations on the database took, failed ones too.",
			Buckets: prometheus.ExponentialBuckets(bucketStart, bucketFactor, bucketCount),
		}, []string{"operation"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: metricsNamespace, Subsystem: metricsSubsystem, Name: "errors_total",
			Help: "Operations that failed because the database could not be asked.",
		}, []string{"operation"}),
	}
	for _, op := range operations() {
		m.errors.WithLabelValues(string(op))
	}
	if r == nil {
		return m, nil
	}
	for i, c := range m.collectors() {
		if err := r.Register(c); err != nil {
			for _, registered := range m.collectors()[:i] {
				r.Unregister(registered)
			}
			return nil, fault.Wrap(fault.Internal, "metricsTaken", "The store's metrics are registered already.", err)
		}
	}
	return m, nil
}

func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.up, m.version, m.duration, m.errors}
}

func (m *metrics) unregister() {
	if m.registerer == nil {
		return
	}
	for _, c := range m.collectors() {
		m.registerer.Unregister(c)
	}
}

// observe records an operation. A caller that gave up says nothing about the
// database.
func (s *Store) observe(caller context.Context, op operation, took time.Duration, err error) {
	s.metrics.duration.WithLabelValues(string(op)).Observe(took.Seconds())
	switch {
	case err == nil || fault.As(err).Key != keyUnavailable:
		s.metrics.up.Set(1)
		if was := s.health.state.Swap(healthUp); was == healthDown {
			s.log.LogAttrs(caller, slog.LevelInfo, "database answers again", slog.String("operation", string(op)))
		}
	case caller.Err() != nil:
	default:
		s.metrics.up.Set(0)
		s.metrics.errors.WithLabelValues(string(op)).Inc()
		if was := s.health.state.Swap(healthDown); was != healthDown {
			s.log.LogAttrs(caller, slog.LevelError, "database can't be asked",
				slog.String("operation", string(op)), slog.Any("error", err))
		}
	}
}
