package tenant

import "github.com/prometheus/client_golang/prometheus"

// step is how a caller was found.
type step int

// The steps; all but the first are the shared URL's.
const (
	bySlug    step = iota // the path or the host name says who
	byMeeting             // owns the meeting
	byCall                // made the same call a moment ago
	byAddress             // called from the address before
	byScan
)

// metrics are the directory's; every series exists from the start.
type metrics struct {
	identified [byScan + 1]prometheus.Counter
	failures   map[Reason]prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	identified := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "bluegate_api_identified_total",
		Help: "Calls whose tenant was found, by the way it was found.",
	}, []string{"by"})
	failures := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "bluegate_api_auth_failures_total",
		Help: "Calls whose tenant was not found, by reason; busy = the search was out of budget.",
	}, []string{"reason"})
	if r != nil {
		r.MustRegister(identified, failures)
	}
	m := &metrics{failures: map[Reason]prometheus.Counter{}}
	for step, by := range [...]string{"slug", "meeting", "call", "address", "scan"} {
		m.identified[step] = identified.WithLabelValues(by)
	}
	for _, reason := range []Reason{UnknownTenant, BadChecksum, Missing, Algorithm, Busy} {
		m.failures[reason] = failures.WithLabelValues(string(reason))
	}
	return m
}
