package tenant

import "github.com/prometheus/client_golang/prometheus"

// step is how a caller was found.
type step string

// The steps; all but the first are the shared URL's.
const (
	bySlug    step = "slug"    // the path or the host name says who
	byMeeting step = "meeting" // owns the meeting
	byCall    step = "call"    // made the same call a moment ago
	byAddress step = "address" // called from the address before
	byScan    step = "scan"
)

// metrics are the directory's; every series exists from the start.
type metrics struct {
	identified map[step]prometheus.Counter
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
	m := &metrics{identified: map[step]prometheus.Counter{}, failures: map[Reason]prometheus.Counter{}}
	for _, s := range []step{bySlug, byMeeting, byCall, byAddress, byScan} {
		m.identified[s] = identified.WithLabelValues(string(s))
	}
	for _, reason := range []Reason{UnknownTenant, BadChecksum, Missing, Algorithm, Busy} {
		m.failures[reason] = failures.WithLabelValues(string(reason))
	}
	return m
}
