package pool

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bluegate/bluegate/internal/bbb"
)

// metrics is the pool's collector: counters that are kept here, and gauges that
// are read from memory when they are collected, so that those of a removed server
// are gone.
type metrics struct {
	pool *Pool

	polls          *prometheus.CounterVec
	pollSeconds    *prometheus.HistogramVec
	requests       *prometheus.CounterVec
	requestSeconds *prometheus.HistogramVec
	changes        *prometheus.CounterVec
	freezes        prometheus.Counter
	up             *prometheus.Desc
	adminState     *prometheus.Desc
	healthState    *prometheus.Desc
	meetings       *prometheus.Desc
	breakouts      *prometheus.Desc
	participants   *prometheus.Desc
	listeners      *prometheus.Desc
	voice          *prometheus.Desc
	videos         *prometheus.Desc
	largest        *prometheus.Desc
	load           *prometheus.Desc
	capacity       *prometheus.Desc
	lastSuccess    *prometheus.Desc
	failures       *prometheus.Desc
	circuit        *prometheus.Desc
	free           *prometheus.Desc
	frozen         *prometheus.Desc

	mu     sync.Mutex
	byName map[string]*series
}

// series are the counters of one server. They outlive a change of its URL.
type series struct {
	name    string
	metrics *metrics
	results map[result]prometheus.Counter
	seconds prometheus.Observer
	to      map[Health]prometheus.Counter

	// mu keeps a call that ends late from bringing back the series of a server
	// that was removed.
	mu     sync.RWMutex
	closed bool
}

// countedCalls are the calls that have series from the start.
func countedCalls() []string {
	return []string{"create", "join", "isMeetingRunning", "getMeetingInfo", "end"}
}

func newMetrics(p *Pool) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: name, Help: help,
			Buckets:                         []float64{.05, .25, 1, 2.5, 5, 10},
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  100,
			NativeHistogramMinResetDuration: time.Hour,
		}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &metrics{
		pool:           p,
		byName:         map[string]*series{},
		polls:          counter("bluegate_server_polls_total", "Polls of a server by result.", "server", "result"),
		pollSeconds:    histogram("bluegate_server_poll_duration_seconds", "Time a poll of a server took.", "server"),
		requests:       counter("bluegate_server_requests_total", "Calls to a server by HTTP status, or timeout, error, not_sent.", "server", "call", "code"),
		requestSeconds: histogram("bluegate_server_request_duration_seconds", "Time a call to a server took.", "server", "call"),
		changes:        counter("bluegate_server_state_changes_total", "Changes of a server's health by the new state.", "server", "to"),
		freezes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "bluegate_health_freezes_total",
			Help: "Times that so many servers failed at once that none was taken for down.",
		}),
		up:           gauge("bluegate_server_up", "Whether a server answers us (health up or slow).", "server"),
		adminState:   gauge("bluegate_server_admin_state", "What the operator wants of a server: 1 for the state it is in.", "server", "state"),
		healthState:  gauge("bluegate_server_health_state", "A server's health: 1 for the state it is in.", "server", "state"),
		meetings:     gauge("bluegate_server_meetings", "Meetings on a server, without breakouts.", "server"),
		breakouts:    gauge("bluegate_server_breakout_meetings", "Breakout meetings on a server.", "server"),
		participants: gauge("bluegate_server_participants", "Participants on a server; users of breakouts once.", "server"),
		listeners:    gauge("bluegate_server_listeners", "Participants that listen only.", "server"),
		voice:        gauge("bluegate_server_voice_participants", "Participants with a microphone.", "server"),
		videos:       gauge("bluegate_server_videos", "Cameras on a server.", "server"),
		largest:      gauge("bluegate_server_largest_meeting_participants", "Participants of the largest meeting.", "server"),
		load:         gauge("bluegate_server_load_seats", "Seats in use or expected to be.", "server"),
		capacity:     gauge("bluegate_server_capacity_seats", "Seats a server is meant to carry.", "server"),
		lastSuccess:  gauge("bluegate_server_last_poll_success_timestamp_seconds", "When the last successful poll was sent; 0 before the first.", "server"),
		failures:     gauge("bluegate_server_consecutive_failures", "Polls since the last successful one.", "server"),
		circuit:      gauge("bluegate_server_circuit_open", "Whether calls to a server are held back.", "server"),
		free:         gauge("bluegate_pool_free_seats", "Seats that are free on the servers of a pool that take new meetings.", "pool"),
		frozen:       gauge("bluegate_health_frozen", "Whether health doesn't move to down because too many servers fail at once."),
	}
}

// series returns the counters of the server with that name, from 0 if it is new.
func (m *metrics) series(name string) *series {
	name = strings.ToValidUTF8(name, "?")
	m.mu.Lock()
	defer m.mu.Unlock()
	if s, ok := m.byName[name]; ok {
		return s
	}
	s := &series{
		name: name, metrics: m,
		results: map[result]prometheus.Counter{},
		seconds: m.pollSeconds.WithLabelValues(name),
		to:      map[Health]prometheus.Counter{},
	}
	for _, r := range results() {
		s.results[r] = m.polls.WithLabelValues(name, r.String())
	}
	for _, h := range healths() {
		s.to[h] = m.changes.WithLabelValues(name, string(h))
	}
	for _, call := range countedCalls() {
		m.requests.WithLabelValues(name, call, "200")
		m.requestSeconds.WithLabelValues(name, call)
	}
	m.byName[name] = s
	return s
}

// keep drops the series of all servers but the members'.
func (m *metrics) keep(members []*member) {
	kept := make(map[*series]bool, len(members))
	for _, member := range members {
		kept[member.config.Load().series] = true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, s := range m.byName {
		if kept[s] {
			continue
		}
		delete(m.byName, name)
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		of := prometheus.Labels{"server": name}
		m.polls.DeletePartialMatch(of)
		m.pollSeconds.DeletePartialMatch(of)
		m.requests.DeletePartialMatch(of)
		m.requestSeconds.DeletePartialMatch(of)
		m.changes.DeletePartialMatch(of)
	}
}

func (s *series) poll(r result, took time.Duration) {
	s.results[r].Inc()
	s.seconds.Observe(took.Seconds())
}

func (s *series) changed(to Health) { s.to[to].Inc() }

func (s *series) notSent(call string) { s.count(call, "not_sent", 0) }

func (s *series) call(call string, resp bbb.Response, err error, took time.Duration) {
	s.count(call, code(resp, err), took)
}

func (s *series) count(call, code string, took time.Duration) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return
	}
	call = callLabel(call)
	s.metrics.requests.WithLabelValues(s.name, call, code).Inc()
	if code != "not_sent" {
		s.metrics.requestSeconds.WithLabelValues(s.name, call).Observe(took.Seconds())
	}
}

// code returns the label for a call's outcome, one of a bounded set.
func code(resp bbb.Response, err error) string {
	var failed *bbb.CallError
	switch {
	case err == nil && http.StatusText(resp.Status) != "":
		return strconv.Itoa(resp.Status)
	case err == nil:
		return "other"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.As(err, &failed) && !failed.Sent:
		return "not_sent"
	}
	return "error"
}

// callLabel returns the call's name if it is one of BBB's.
func callLabel(name string) string {
	switch name {
	case "create", "join", "isMeetingRunning", "end", "getMeetingInfo", "getMeetings", "getSessions",
		"insertDocument", "sendChatMessage", "getJoinUrl", "getRecordings", "publishRecordings", "deleteRecordings",
		"updateRecordings", "getRecordingTextTracks", "putRecordingTextTrack",
		"hooks/create", "hooks/list", "hooks/destroy":
		return name
	}
	return "other"
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.kept() {
		c.Describe(ch)
	}
	for _, d := range []*prometheus.Desc{
		m.up, m.adminState, m.healthState, m.meetings, m.breakouts, m.participants, m.listeners, m.voice, m.videos,
		m.largest, m.load, m.capacity, m.lastSuccess, m.failures, m.circuit, m.free, m.frozen,
	} {
		ch <- d
	}
}

func (m *metrics) kept() []prometheus.Collector {
	return []prometheus.Collector{m.polls, m.pollSeconds, m.requests, m.requestSeconds, m.changes, m.freezes}
}

// Collect implements prometheus.Collector. It reads memory only.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.kept() {
		c.Collect(ch)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	now := m.pool.o.Now()
	free := map[string]float64{}
	for _, member := range m.pool.roster.Load().list {
		c := member.config.Load()
		t := member.state.Load()
		snapshot := member.snapshot.Load()
		open := member.circuitOpen()
		used := load(snapshot, m.pool.claims(c.server.ID), now)
		name := c.series.name
		var totals Totals
		lastSuccess := 0.0
		if snapshot != nil {
			totals = snapshot.Totals
			lastSuccess = float64(snapshot.At.UnixMilli()) / 1000
		}
		gauge(m.up, flag(t.health == Up || t.health == Slow), name)
		for _, state := range []AdminState{Enabled, Draining, Disabled} {
			gauge(m.adminState, flag(c.server.AdminState == state), name, string(state))
		}
		for _, state := range healths() {
			gauge(m.healthState, flag(t.health == state), name, string(state))
		}
		gauge(m.meetings, float64(totals.Meetings), name)
		gauge(m.breakouts, float64(totals.Breakouts), name)
		gauge(m.participants, float64(totals.Participants), name)
		gauge(m.listeners, float64(totals.Listeners), name)
		gauge(m.voice, float64(totals.Voice), name)
		gauge(m.videos, float64(totals.Videos), name)
		gauge(m.largest, float64(totals.Largest), name)
		gauge(m.load, used, name)
		gauge(m.capacity, float64(c.server.CapacitySeats), name)
		gauge(m.lastSuccess, lastSuccess, name)
		gauge(m.failures, float64(t.run), name)
		gauge(m.circuit, flag(open), name)

		pool := strings.ToValidUTF8(c.server.Pool, "?")
		if _, ok := free[pool]; !ok {
			free[pool] = 0
		}
		if c.server.AdminState == Enabled && (t.health == Up || t.health == Slow) && !open {
			free[pool] += max(0, float64(c.server.CapacitySeats)-used)
		}
	}
	for pool, seats := range free {
		gauge(m.free, seats, pool)
	}
	gauge(m.frozen, flag(m.pool.frozen.Load()))
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
