package meeting

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	placements        *prometheus.CounterVec
	placementFailures *prometheus.CounterVec
	stale             *prometheus.CounterVec
	coalesced         prometheus.Counter
	adopted           prometheus.Counter
	relocated         *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		placements: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bluegate_placements_total", Help: "Meetings placed on a server, by pool and reason.",
		}, []string{"pool", "reason"}),
		placementFailures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bluegate_placement_failures_total", Help: "Placements that found no server or whose server did not create the meeting.",
		}, []string{"reason"}),
		stale: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bluegate_stale_answers_total", Help: "Answers from a snapshot or a claim because the server could not be asked.",
		}, []string{"call"}),
		coalesced: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "bluegate_create_coalesced_total", Help: "Creates answered with what another one in flight was answered.",
		}),
		adopted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "bluegate_meetings_adopted_total", Help: "Meetings found on a server by our reference after an unanswered create.",
		}),
		relocated: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bluegate_meetings_relocated_total", Help: "Rooms opened again on another server, by reason.",
		}, []string{"reason"}),
	}
	for _, call := range []string{"create", "getMeetingInfo", "isMeetingRunning"} {
		m.stale.WithLabelValues(call)
	}
	for _, reason := range []string{"no_server", "server_failed"} {
		m.placementFailures.WithLabelValues(reason)
	}
	m.relocated.WithLabelValues("server_lost")
	if reg != nil {
		reg.MustRegister(m.placements, m.placementFailures, m.stale, m.coalesced, m.adopted, m.relocated)
	}
	return m
}
