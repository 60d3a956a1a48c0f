package meeting

import (
	"context"
	"math"
	"time"

	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/pool"
)

// Reconcile holds what a poll of a server says against the claims that live
// there, and proposes what follows. A poll can judge a claim only if the claim
// was known, in its present state, before the poll was sent.
func (r *Registry) Reconcile(ctx context.Context, p pool.Poll) {
	list := r.routes.onServer(p.ServerID)
	if p.Snapshot == nil {
		r.reconcileAway(ctx, p.ServerID, list)
		return
	}
	var gone []route
	present := 0
	before := r.sawPoll(p)
	byScoped := scopedIndex(p.Snapshot)
	for _, e := range list {
		overtaken := e.State == Lost && !e.EndRequested && r.routes.overtaken(e.Claim)
		if m, ok := r.findIn(p.Snapshot, byScoped, e.Claim); ok && !overtaken {
			if e.known <= before { // what is new on the server survived nothing
				present++
			}
			r.routes.sawPeople(e.ID, m.Participants)
			r.reconcileFound(ctx, e.Claim, m)
			continue
		}
		if e.known > p.Snapshot.Moment {
			continue
		}
		if overtaken {
			r.to(ctx, e.Claim, Superseded, "the room has a later meeting")
			continue
		}
		switch e.State {
		case Running:
			gone = append(gone, e)
		case Ending:
			r.to(ctx, e.Claim, Ended, "ended as asked")
		case Claimed:
			// Its replica would have recorded the outcome by now.
			if r.now().Sub(e.since) > r.limits.CreateTimeout+r.limits.UnknownSettles {
				r.to(ctx, e.Claim, Unknown, "left behind")
			}
		case Unknown:
			// The deadline had passed when it became unknown, if it was not cut short before.
			if p.Snapshot.At.Sub(e.since) >= r.limits.CreateTimeout+r.limits.UnknownSettles {
				r.reserve.Release(ctx, e.Ref)
				r.to(ctx, e.Claim, Released, "never turned up")
			}
		case Lost:
			switch {
			case e.EndRequested:
				r.to(ctx, e.Claim, Ended, "ended as asked")
			case r.now().Sub(e.since) > r.limits.LostAfter:
				r.to(ctx, e.Claim, Ended, "lost and not asked for")
			}
		case Ended, Released, Superseded:
		}
	}
	r.reconcileGone(ctx, gone, present)
}

// sawPoll returns what was known before the server's last poll, everything at
// its first, and remembers this one.
func (r *Registry) sawPoll(p pool.Poll) int64 {
	r.lastMu.Lock()
	defer r.lastMu.Unlock()
	before, ok := r.last[p.ServerID]
	r.last[p.ServerID] = p.Snapshot.Moment
	if !ok {
		return math.MaxInt64
	}
	return before
}

// reconcileGone decides over running meetings that vanished from a server. One
// that vanished has ended. When everything vanished at once and there were, or
// may have been, people, the server has lost its memory: the rooms are lost and
// heal.
func (r *Registry) reconcileGone(ctx context.Context, gone []route, present int) {
	state, why := Ended, "the server has ended it"
	if len(gone) > 1 && present == 0 {
		for _, e := range gone {
			if e.people != 0 {
				state, why = Lost, "the server has lost all its meetings"
			}
		}
	}
	for _, e := range gone {
		r.to(ctx, e.Claim, state, why)
	}
}

// keepEnd bounds how long the end of a lost meeting waits for its server to return.
const keepEnd = 24 * time.Hour

// to proposes a state. While the store does not answer it does not: each try would
// take its time, and a server with many claims would not be polled meanwhile.
func (r *Registry) to(ctx context.Context, c Claim, state State, why string) {
	if r.feed.state(r.now(), r.limits.FeedStale) == feedDown {
		return
	}
	to := c
	to.State = state
	r.settleMove(ctx, c, to, why)
}

// findIn finds a claim's meeting in a snapshot: by BBB's internal ID, and while
// that is not known by scoped ID and our signed reference.
func (r *Registry) findIn(s *pool.Snapshot, byScoped map[string]bbb.Meeting, c Claim) (bbb.Meeting, bool) {
	if c.InternalID != "" {
		return s.ByInternalID(c.InternalID)
	}
	m, ok := byScoped[collapse(c.ScopedID)]
	if !ok || !r.carriesRef(m, c) {
		return bbb.Meeting{}, false
	}
	return m, true
}

func (r *Registry) carriesRef(m bbb.Meeting, c Claim) bool {
	key, ok := r.scope(c.TenantID)
	return ok && m.Metadata(refMeta) == signRef(r.refKey, key, c.Ref)
}

// scopedIndex finds meetings by the ID the server was given, as its renderer
// writes it (white space collapsed).
func scopedIndex(s *pool.Snapshot) map[string]bbb.Meeting {
	index := make(map[string]bbb.Meeting, len(s.Meetings))
	for _, m := range s.Meetings {
		if !m.Breakout {
			index[m.MeetingID] = m
		}
	}
	return index
}

// reconcileFound is for a claim whose meeting the server has.
func (r *Registry) reconcileFound(ctx context.Context, c Claim, m bbb.Meeting) {
	switch c.State {
	case Claimed, Unknown:
		to := c
		to.State, to.InternalID, to.CreateTime = Running, m.InternalID, m.CreateTime
		to.Answer = r.adoptedAnswer(to, m)
		if moved, ok := r.settleMove(ctx, c, to, "found on the server"); ok {
			r.metrics.adopted.Inc()
			if moved.EndRequested {
				r.endRequested(ctx, moved)
			}
		}
	case Ending:
		r.sendEnd(ctx, c) // the tenant asked for it; it has not happened yet
	case Lost:
		if c.EndRequested {
			r.sendEnd(ctx, c)
			return
		}
		r.to(ctx, c, Running, "back on its server")
	case Running:
		if c.EndRequested { // and whoever confirmed the meeting did not get to it
			r.endRequested(ctx, c)
		}
	case Ended, Released, Superseded:
	}
}

// adoptedAnswer is the create answer that the server gave and nobody read.
func (r *Registry) adoptedAnswer(c Claim, m bbb.Meeting) []byte {
	l := r.life(c)
	l.VoiceBridge, l.DialNumber = m.Text("voiceBridge"), m.Text("dialNumber")
	return l.Created(false, "", "")
}

// reconcileAway is for a server that does not answer. That changes no meeting,
// until the server is given up for lost: it must have been away since the claim
// became what it is, or another replica reaches it.
func (r *Registry) reconcileAway(ctx context.Context, serverID int64, list []route) {
	since, down := r.servers.DownSince(serverID)
	if !down {
		return
	}
	for _, e := range list {
		if e.State == Lost && !e.EndRequested && r.routes.overtaken(e.Claim) {
			r.to(ctx, e.Claim, Superseded, "the room has a later meeting")
			continue
		}
		away := min(r.now().Sub(since), r.now().Sub(e.since))
		limit := r.limits.LostAfterEmpty
		if r.mayHavePeople(e.Claim) {
			limit = r.limits.LostAfter
		}
		if away < limit {
			continue
		}
		switch e.State {
		case Running:
			r.to(ctx, e.Claim, Lost, "its server is down for too long")
		case Unknown:
			r.reserve.Release(ctx, e.Ref)
			r.to(ctx, e.Claim, Released, "its server is down for too long")
		case Claimed:
			r.to(ctx, e.Claim, Unknown, "left behind")
		case Ending:
			// The room must not wait for a server that may never return; if it
			// does, the tenant's end is still to be carried out.
			lost := e.Claim
			lost.EndRequested = true
			r.to(ctx, lost, Lost, "its server is down for too long")
		case Lost:
			if !e.EndRequested && away > r.limits.LostAfter || away > keepEnd {
				r.to(ctx, e.Claim, Ended, "lost and not asked for")
			}
		case Ended, Released, Superseded:
		}
	}
}

// mayHavePeople reports whether the claim's server last listed people in the
// meeting, or was never seen by this replica.
func (r *Registry) mayHavePeople(c Claim) bool {
	s := r.servers.Snapshot(c.ServerID)
	m, ok := s.ByInternalID(c.InternalID)
	return s == nil || ok && m.Participants > 0
}
