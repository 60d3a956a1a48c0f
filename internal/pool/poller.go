package pool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/fault"
)

// Poll is the outcome of one poll of a server.
type Poll struct {
	ServerID int64
	Snapshot *Snapshot // nil when the poll failed
	Err      error     // why it failed, a *fault.Error; never holds a URL or secret
	// Frozen reports that too many servers fail at once to blame them: health
	// doesn't move to down meanwhile.
	Frozen bool
}

// look is a poll that was asked for and has not begun; its waiters share it.
type look struct {
	done chan struct{} // closed when poll is set
	poll Poll
}

var (
	errServerGone = fault.New(fault.NotFound, "serverUnknown", "There is no such server.")
	errRefused    = fault.New(fault.Unavailable, "serverRefused", "The server refuses our secret (checksumError).")
	errPollWait   = fault.New(fault.Unavailable, "serverNotAnswering", "The server has not been looked at in the time there was.")
)

// lanes bound how many polls run at once. Servers whose last poll failed have a
// quarter of the room to themselves: however many hang, the rest is polled on time.
type lanes struct {
	steady, failing chan struct{}
}

func newLanes(n int) lanes {
	if n < 4 {
		one := make(chan struct{}, n)
		return lanes{steady: one, failing: one}
	}
	return lanes{steady: make(chan struct{}, n-n/4), failing: make(chan struct{}, n/4)}
}

func (l lanes) of(last result) chan struct{} {
	if last.failed() {
		return l.failing
	}
	return l.steady
}

// nudge wakes the member's poller.
func (m *member) nudge() {
	select {
	case m.wake <- struct{}{}:
	default: // it is to wake already
	}
}

// ask returns the look that begins next; nil when there will be none.
func (m *member) ask() *look {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gone {
		return nil
	}
	if m.next == nil {
		m.next = &look{done: make(chan struct{})}
	}
	m.nudge()
	return m.next
}

// take returns the look that was asked for, nil if none. Whoever asks from now
// on gets the one after it.
func (m *member) take() *look {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.next
	m.next = nil
	select {
	case <-m.wake: // what the poller was woken for begins now
	default:
	}
	return l
}

func (m *member) asked() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.next != nil
}

// retire lets go of those that wait for a look.
func (m *member) retire() {
	m.mu.Lock()
	m.gone = true
	m.mu.Unlock()
	m.take().settle(Poll{ServerID: m.config.Load().server.ID, Err: errServerGone})
}

// settle gives the look's waiters their poll.
func (l *look) settle(p Poll) {
	if l == nil {
		return
	}
	l.poll = p
	close(l.done)
}

// PollNow polls a server and returns the outcome; the error is the poll's. The
// poll begins after the call of PollNow: one that is in flight already is waited
// for, not joined, and callers that wait share the one after it. It takes at most
// twice PollTimeout: the rest of the poll in flight, and the poll itself.
func (p *Pool) PollNow(ctx context.Context, id int64) (Poll, error) {
	m, ok := p.roster.Load().byID[id]
	if !ok {
		return Poll{ServerID: id, Err: errServerGone}, errServerGone
	}
	l := m.ask()
	if l == nil {
		return Poll{ServerID: id, Err: errServerGone}, errServerGone
	}
	timer := time.NewTimer(2 * p.o.PollTimeout)
	defer timer.Stop()
	select {
	case <-l.done:
		return l.poll, l.poll.Err
	case <-timer.C:
		return Poll{ServerID: id, Err: errPollWait}, errPollWait
	case <-ctx.Done():
		err := fault.Wrap(errPollWait.Kind, errPollWait.Key, errPollWait.Message, ctx.Err())
		return Poll{ServerID: id, Err: err}, err
	}
}

// run polls one member until ctx ends.
func (p *Pool) run(ctx context.Context, m *member) {
	defer m.retire()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-m.wake:
		}
		if !m.config.Load().polled() && !m.asked() && !p.inUse(m) {
			timer.Reset(p.interval())
			continue
		}
		lane := p.lanes.of(m.state.Load().last)
		select {
		case <-ctx.Done():
			return
		case lane <- struct{}{}:
		}
		began := time.Now()
		p.poll(ctx, m, lane)
		timer.Reset(max(0, p.interval()-time.Since(began)))
	}
}

func (p *Pool) inUse(m *member) bool {
	return p.o.InUse != nil && p.o.InUse(m.config.Load().server.ID)
}

// interval returns the time from one poll's start to the next's. Jitter keeps
// servers that were added together from being polled together for ever.
func (p *Pool) interval() time.Duration {
	jitter := p.o.PollJitter * (2*rand.Float64() - 1) //nolint:gosec // not a secret
	return time.Duration(float64(p.o.PollInterval) * (1 + jitter))
}

// poll asks one server for its meetings and publishes what it answered. It gives
// the place in the lane back as soon as the answer is read: what others do with
// it keeps nobody from being polled.
func (p *Pool) poll(ctx context.Context, m *member, lane chan struct{}) {
	l := m.take()
	c := m.config.Load()
	var moment int64
	if p.o.Moment != nil {
		moment = p.o.Moment()
	}
	number := p.number.Add(1)
	at := p.o.Now()
	pollCtx, cancel := context.WithTimeout(ctx, p.o.PollTimeout)
	meetings, r, err := p.list(pollCtx, c)
	cancel()
	<-lane
	if ctx.Err() != nil {
		// Removed, replaced or stopped meanwhile: the answer is nobody's.
		l.settle(Poll{ServerID: c.server.ID, Err: errServerGone})
		return
	}
	now := p.o.Now()
	out := Poll{ServerID: c.server.ID, Err: err}
	if r == resultOK {
		out.Snapshot = NewSnapshot(c.server.ID, number, moment, at, meetings)
		m.snapshot.Store(out.Snapshot)
	}
	c.series.poll(r, now.Sub(at))
	first := m.state.Load().lastAt.IsZero()
	out.Frozen = p.record(m, c, r, now.Sub(at) > p.o.SlowAfter, now, err)
	if p.o.Polled != nil {
		p.o.Polled(ctx, out)
	}
	if first {
		p.tellFirst()
	}
	l.settle(out)
}

// list sends a getMeetings call. An error is a *fault.Error.
func (p *Pool) list(ctx context.Context, c *config) ([]bbb.Meeting, result, error) {
	resp, err := p.client.Do(ctx, bbb.Request{
		Base: c.server.APIURL, Call: bbb.Call{Name: "getMeetings"},
		Algorithm: c.algorithm, Secret: c.server.Secret,
	})
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return nil, resultTimeout, pollFault(fmt.Errorf("no answer within %v", p.o.PollTimeout))
	case err != nil:
		return nil, resultUnreachable, pollFault(err)
	case resp.Answer == nil:
		return nil, resultError, pollFault(fmt.Errorf("HTTP status %d without a BBB answer", resp.Status))
	case resp.Answer.Key() == "checksumError":
		return nil, resultRefused, errRefused
	case !resp.Answer.Success():
		return nil, resultError, pollFault(fmt.Errorf("the server answered FAILED %q", resp.Answer.Key()))
	}
	meetings, err := bbb.ParseMeetings(fit(resp.Body))
	if err != nil {
		return nil, resultError, pollFault(err)
	}
	return meetings, resultOK, nil
}

func pollFault(cause error) error {
	return fault.Wrap(fault.Unavailable, "serverNotAnswering", "The server did not answer a poll.", cause)
}

// record moves the member's health by one result and reports whether health is
// frozen.
func (p *Pool) record(m *member, c *config, r result, isSlow bool, now time.Time, cause error) bool {
	p.healthMu.Lock()
	defer p.healthMu.Unlock()
	before := m.state.Load()
	heard := *before
	heard.last, heard.lastAt = r, now
	m.state.Store(&heard)
	if r.failed() || p.frozen.Load() {
		p.reviewFreeze(now)
	}
	frozen := p.frozen.Load()
	after := *m.state.Load()
	changed := after.observe(r, isSlow, frozen, thresholds{downAfter: p.o.DownAfter, upAfter: p.o.UpAfter}, now)
	m.state.Store(&after)
	if !changed {
		return frozen
	}
	c.series.changed(after.health)
	log := p.o.Logger.With("server", c.server.Name, "from", string(before.health), "to", string(after.health))
	if after.health == Down || after.health == Refused {
		log.Warn("server health changed", "error", cause)
	} else {
		log.Info("server health changed")
	}
	return frozen
}

// reviewFreeze freezes or thaws health. The caller holds healthMu.
func (p *Pool) reviewFreeze(now time.Time) {
	polled, failed := 0, 0
	members := p.roster.Load().list
	for _, m := range members {
		t := m.state.Load()
		if !m.config.Load().polled() || t.lastAt.IsZero() || now.Sub(t.lastAt) > p.o.PollInterval*3/2 {
			continue
		}
		polled++
		if t.last.failed() {
			failed++
		}
	}
	freeze := suspectSelf(polled, failed)
	if freeze == p.frozen.Load() {
		return
	}
	p.frozen.Store(freeze)
	if freeze {
		p.metrics.freezes.Inc()
		p.o.Logger.Warn("so many servers fail at once that the fault may be ours: none is taken for down meanwhile",
			"polled", polled, "failed", failed)
		return
	}
	// What failed while we were the suspect is no evidence against a server.
	for _, m := range members {
		t := *m.state.Load()
		t.fails = 0
		m.state.Store(&t)
	}
	p.o.Logger.Info("servers answer again: health moves as usual", "polled", polled, "failed", failed)
}
