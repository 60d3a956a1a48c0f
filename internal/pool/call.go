package pool

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/fault"
)

// Call is a call to one server. The embedded call is unsigned.
type Call struct {
	bbb.Call
	Timeout time.Duration // 0: by the call's name
	// Body, when not nil, makes the request a POST; it is called once, right
	// before the request is sent.
	Body        func() (io.Reader, error)
	BodySize    int64
	ContentType string
}

// Reasons why a call was not sent, and how it counts for the circuit.
var (
	errCircuitOpen = errors.New("the server failed too often a moment ago: its circuit is open")
	errTooMany     = errors.New("too many calls to the server are in flight")
	errNoServer    = errors.New("there is no such server")
	errFailed      = errors.New("counts as a failure of the server")
	errNeither     = errors.New("says nothing of the server")
)

// Call signs a call with the server's secret, sends it and reads the answer,
// through the server's circuit breaker. An answer of apiNotEnabled is taken for
// none, since the call may have had its effect. An error is a *bbb.CallError; it says
// Sent=false for a server that isn't there, an open circuit, too many calls in
// flight, a body that can't be read, and when no connection came about.
func (p *Pool) Call(ctx context.Context, serverID int64, call Call) (bbb.Response, error) {
	m, ok := p.roster.Load().byID[serverID]
	if !ok {
		return notSent(errNoServer)
	}
	c := m.config.Load()
	if m.inFlight.Add(1) > int64(p.o.MaxCallsPerServer) {
		m.inFlight.Add(-1)
		c.series.notSent(call.Name)
		return notSent(errTooMany)
	}
	defer m.inFlight.Add(-1)
	done, err := m.breaker.Allow()
	if err != nil {
		c.series.notSent(call.Name)
		return notSent(errCircuitOpen)
	}
	verdict := errNeither
	defer func() { done(verdict) }()
	req := bbb.Request{
		Base: c.server.APIURL, Call: call.Call, Algorithm: c.algorithm, Secret: c.server.Secret,
		BodySize: call.BodySize, ContentType: call.ContentType,
	}
	if call.Body != nil {
		req.Body, err = call.Body()
		if err != nil {
			return notSent(err)
		}
	}
	callCtx, cancel := context.WithTimeout(ctx, p.timeout(m, call))
	defer cancel()
	began := time.Now()
	resp, err := p.client.Do(callCtx, req)
	took := time.Since(began)
	if resp.Answer != nil && resp.Answer.Key() == "apiNotEnabled" {
		// A server whose API is off says so and carries the call out all the
		// same: its FAILED promises nothing.
		resp.Answer = nil
	}
	verdict = p.judge(ctx, resp, err, took)
	if errors.Is(verdict, errFailed) {
		m.failedAt.Store(p.o.Now().UnixNano())
		if call.Name == "create" && resp.Status == http.StatusInternalServerError {
			// bbb-web chokes on what some tenants put into a create: that must not
			// take the server from the others.
			verdict = errNeither
		}
	}
	c.series.call(call.Name, resp, err, took)
	return resp, err
}

func notSent(err error) (bbb.Response, error) {
	return bbb.Response{}, &bbb.CallError{Sent: false, Err: err}
}

// timeout is how long a call may take. Those that ask about one meeting have a
// snapshot to fall back on: of a doubtful server they wait a quarter as long, so
// that an LMS's page of many rooms does not hang once for every room.
func (p *Pool) timeout(m *member, call Call) time.Duration {
	switch {
	case call.Timeout > 0:
		return call.Timeout
	case call.Name == "create":
		return p.o.CreateTimeout
	case (call.Name == "getMeetingInfo" || call.Name == "isMeetingRunning") && m.doubtful():
		return p.o.CallTimeout / 4
	}
	return p.o.CallTimeout
}

// judge says what a call's outcome means for the server's circuit: nil for a
// success, errFailed, or errNeither. A parsed FAILED is a success.
func (p *Pool) judge(ctx context.Context, resp bbb.Response, err error, took time.Duration) error {
	switch {
	case err == nil && resp.Status >= 500:
		return errFailed
	case err == nil:
		return nil
	case ctx.Err() != nil && took < p.o.SlowAfter:
		// The caller went, or had little time left: not the server's fault.
		return errNeither
	case errors.Is(ctx.Err(), context.Canceled):
		return errNeither
	}
	return errFailed
}

func (p *Pool) newBreaker(server string) *gobreaker.TwoStepCircuitBreaker[struct{}] {
	return gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:        server,
		MaxRequests: 1,
		Timeout:     p.o.BreakerCooldown,
		ReadyToTrip: func(counts gobreaker.Counts) bool {
			return counts.ConsecutiveFailures >= uint32(p.o.BreakerFailures)
		},
		IsSuccessful: func(err error) bool { return err == nil },
		IsExcluded:   func(err error) bool { return errors.Is(err, errNeither) },
		OnStateChange: func(server string, from, to gobreaker.State) {
			log := p.o.Logger.With("server", server, "from", from.String(), "to", to.String())
			if to == gobreaker.StateOpen {
				log.Warn("circuit changed")
				return
			}
			log.Info("circuit changed")
		},
	})
}

// JoinURL returns the signed call on the server's public URL, for a browser to
// go to.
func (p *Pool) JoinURL(serverID int64, call bbb.Call) (string, error) {
	m, ok := p.roster.Load().byID[serverID]
	if !ok {
		return "", fault.New(fault.Unavailable, "serverUnknown", "The meeting's server is not known here.")
	}
	c := m.config.Load()
	base := c.server.PublicURL
	if base == "" {
		base = c.server.APIURL
	}
	return bbb.URL(base, call, c.algorithm, c.server.Secret), nil
}
