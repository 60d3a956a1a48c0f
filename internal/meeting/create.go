package meeting

import (
	"context"
	"time"

	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/fault"
	"github.com/bluegate/bluegate/internal/tenant"
)

// Created is the answer to a create and how it came about.
type Created struct {
	Answer    []byte
	ServerID  int64
	Coalesced bool // another request in flight was answered with it too
	Stale     bool // the server could not be asked
	over      bool // the meeting is being ended: its end came before this answer
}

// Errors of creating, which the table "What we answer when we can't" names.
var (
	// ErrSuspended refuses a suspended tenant's new rooms.
	ErrSuspended = fault.New(fault.Denied, "tenantSuspended",
		"This account is suspended: rooms that are open go on, new ones can't be opened. Please ask your provider.")
	errNoServer = fault.New(fault.Denied, "noServerAvailable",
		"There is no conference server for this account. Please ask your provider.")
	errAllAway = fault.New(fault.Unavailable, "noServerAvailable",
		"No conference server can take a new meeting at the moment. Please try again in a moment.")
	errUnsettled = fault.New(fault.Unavailable, "createUnknown",
		"The conference server has not said yet whether the meeting was created. Please try again in a moment.")
	errBusyRoom = fault.New(fault.Unavailable, "roomBusy",
		"The room is being opened or closed by another request. Please try again in a moment.")
	errNotUnique = fault.New(fault.Invalid, "idNotUnique",
		"A meeting already exists with that meeting ID. Please use a different meeting ID.")
)

// maxTurns bounds how often a create reads the room again because it moved.
const maxTurns = 8

// Create creates the tenant's meeting or finds it, and returns the answer for
// the tenant. Identical requests in flight share one; secretID is what signed
// the call.
//
// Errors: fault.Invalid for what the tenant asked for (BBB's keys), fault.Denied
// for a rule of the provider, fault.Unavailable when it can't be known or done now.
func (r *Registry) Create(ctx context.Context, t tenant.Tenant, secretID int64, req Create) (Created, error) {
	for {
		f, leads := r.flights.join(room{t.ID, req.ExternalID}, req.Call.Query)
		if leads {
			// An LMS that hangs up neither stops the create nor fails the others.
			work, cancel := context.WithTimeout(context.WithoutCancel(ctx), maxServers*(r.limits.CreateTimeout+5*time.Second))
			defer cancel()
			return r.flights.lead(room{t.ID, req.ExternalID}, f, func() (Created, error) {
				return r.create(work, t, secretID, req)
			})
		}
		out, err := f.wait(ctx)
		if err != nil && f.query == req.Call.Query {
			return Created{}, err
		}
		if err == nil && len(out.Answer) > 0 && !out.over {
			r.metrics.coalesced.Inc()
			return duplicateOf(out, req)
		}
		if ctx.Err() != nil {
			return Created{}, fault.Wrap(fault.Unavailable, "roomBusy", errBusyRoom.Message, ctx.Err())
		}
	}
}

// create tells the story of a create from top to bottom: what is the room's
// claim, and what does that mean for the request.
func (r *Registry) create(ctx context.Context, t tenant.Tenant, secretID int64, req Create) (Created, error) {
	for range maxTurns {
		c, err := r.read(ctx, t.ID, req.ExternalID)
		if fault.Is(err, fault.NotFound) {
			out, moved, err := r.place(ctx, t, secretID, req, nil)
			if moved {
				continue
			}
			return out, err
		}
		if err != nil {
			known, ok := r.routes.find(t.ID, req.ExternalID)
			if ok && known.State == Running && known.ExternalID == req.ExternalID {
				return r.repeated(known.Claim, req, "", true)
			}
			return Created{}, err
		}
		switch c.State {
		case Claimed:
			if left := r.waitAnswered(ctx, c); !left {
				continue
			}
			out, moved, err := r.repeat(ctx, c, req)
			if !moved {
				return out, err
			}
		case Unknown:
			out, moved, err := r.repeat(ctx, c, req)
			if !moved {
				return out, err
			}
		case Running:
			answer, seen := r.lookAt(ctx, c)
			switch {
			case seen == lookFound && isLife(answer, c):
				return r.repeated(c, req, answer.Text("hasUserJoined"), false)
			case seen == lookUnknown:
				return r.repeated(c, req, "", true)
			case !r.judge(ctx, c):
				return r.repeated(c, req, "", true)
			}
		case Ending:
			if !r.waitForgotten(ctx, c) {
				return Created{}, errBusyRoom
			}
		case Lost:
			out, moved, err := r.heal(ctx, t, c, &req)
			if !moved {
				return out, err
			}
		case Ended, Released, Superseded:
		}
	}
	return Created{}, errBusyRoom
}

// isLife reports whether a server's answer is about the claim's own life of the
// room, not one before or after it.
func isLife(answer bbb.Answer, c Claim) bool {
	return c.InternalID == "" || answer.Text("internalMeetingID") == c.InternalID
}

// pause is how long a create waits between two readings of a room that moves.
const pause = 100 * time.Millisecond

// waitAnswered waits while another replica's create is in flight, at most as
// long as that may take. It reports whether the claim was left behind: it is
// still unanswered then.
func (r *Registry) waitAnswered(ctx context.Context, c Claim) (left bool) {
	known, ok := r.routes.byClaim(c.ID)
	if !ok {
		return false
	}
	for r.now().Sub(known.since) < r.limits.CreateTimeout+time.Second {
		if !sleep(ctx, pause) {
			return false
		}
		now, err := r.read(ctx, c.TenantID, c.ExternalID)
		if err != nil || now.ID != c.ID || now.State != Claimed {
			return false
		}
	}
	return true
}

// waitForgotten waits until the server has forgotten the room's old life.
func (r *Registry) waitForgotten(ctx context.Context, c Claim) bool {
	for began := r.now(); r.now().Sub(began) < r.limits.EndingWait; {
		answer, seen := r.lookAt(ctx, c)
		if seen == lookGone || seen == lookFound && !isLife(answer, c) {
			to := c
			to.State = Ended
			r.settleMove(ctx, c, to, "the server has forgotten it")
			return true
		}
		if !sleep(ctx, pause) {
			return false
		}
	}
	return false
}

// judge polls the claim's server and lets that decide over the claim. It
// reports false when the poll failed: nothing is known.
func (r *Registry) judge(ctx context.Context, c Claim) bool {
	poll, err := r.servers.PollNow(context.WithoutCancel(ctx), c.ServerID)
	return err == nil && poll.Snapshot != nil
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
