package gateway

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	requests   *prometheus.CounterVec
	duration   *prometheus.HistogramVec
	inFlight   prometheus.Gauge
	suppressed prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, calls []string) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bluegate_api_requests_total", Help: "Calls of tenants, by call and result.",
		}, []string{"call", "result"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "bluegate_api_request_duration_seconds", Help: "Time until a tenant's call was answered.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"call"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "bluegate_api_requests_in_flight", Help: "Calls of tenants being answered.",
		}),
		suppressed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "bluegate_create_loops_suppressed_total", Help: "Repetitions of refused creates answered by the loop brake.",
		}),
	}
	for _, call := range calls {
		m.duration.WithLabelValues(call)
		for _, result := range []string{"ok", "failed", "denied", "error"} {
			m.requests.WithLabelValues(call, result)
		}
	}
	if reg != nil {
		reg.MustRegister(m.requests, m.duration, m.inFlight, m.suppressed)
	}
	return m
}
