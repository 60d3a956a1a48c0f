package meeting

import (
	"context"

	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/fault"
	"github.com/bluegate/bluegate/internal/pool"
	"github.com/bluegate/bluegate/internal/tenant"
)

// maxServers is how many servers a create tries: the first and two more.
const maxServers = 3

// place claims the room on the best server, creates the meeting there and
// confirms it; a server that definitely did not create it is followed by the
// next one. With lost != nil the room heals: the new claim, once confirmed,
// supersedes the lost one. moved tells that the room was claimed by somebody
// else meanwhile.
func (r *Registry) place(ctx context.Context, t tenant.Tenant, secretID int64, req Create, lost *Claim,
) (out Created, moved bool, err error) {
	if t.State == tenant.Suspended && lost == nil {
		return Created{}, false, ErrSuspended
	}
	var exclude []int64
	for range maxServers {
		c, err := r.claim(ctx, t, secretID, req, lost, exclude)
		if fault.Is(err, fault.Conflict) {
			return Created{}, true, nil
		}
		if err != nil {
			return Created{}, false, err
		}
		answer, result := r.sendCreate(ctx, c, req.Body)
		switch result {
		case created:
			out, moved := r.confirm(ctx, c, answer)
			if lost != nil && !moved {
				to := *lost
				to.State = Superseded
				r.settleMove(context.WithoutCancel(ctx), *lost, to, "healed on another server")
			}
			return out, moved, nil
		case unknown:
			to := c
			to.State = Unknown
			r.settleMove(context.WithoutCancel(ctx), c, to, "create not answered")
			return Created{}, false, errUnsettled
		case tenantFault:
			r.release(ctx, c, "refused: "+answer.Key())
			return Created{}, false, refused(answer)
		case serverFault:
			if !r.release(ctx, c, "not created") {
				return Created{}, false, errUnsettled
			}
			r.metrics.placementFailures.WithLabelValues("server_failed").Inc()
			exclude = append(exclude, c.ServerID)
		}
	}
	return Created{}, false, errAllAway
}

// claim chooses a server and commits the claim, before the server is called.
func (r *Registry) claim(ctx context.Context, t tenant.Tenant, secretID int64, req Create, lost *Claim, exclude []int64,
) (Claim, error) {
	ref := newRef()
	serverID, err := r.reserve.Reserve(ctx, r.servers.Candidates(pool.Ask{Seats: req.Seats, Exclude: exclude}), ref, req.Seats)
	if err != nil {
		r.metrics.placementFailures.WithLabelValues("no_server").Inc()
		for _, s := range r.servers.Servers() {
			if s.AdminState == pool.Enabled {
				return Claim{}, errAllAway
			}
		}
		return Claim{}, errNoServer
	}
	c := Claim{
		TenantID: t.ID, ExternalID: req.ExternalID, State: Claimed, ServerID: serverID, ScopedID: req.ScopedID,
		AttendeePW: req.AttendeePW, ModeratorPW: req.ModeratorPW, Ref: ref, SecretID: secretID, Seats: req.Seats,
	}
	if c.AttendeePW == "" {
		c.AttendeePW = newPassword()
	}
	if c.ModeratorPW == "" {
		c.ModeratorPW = newPassword()
	}
	c.Params = req.forClaim(c.AttendeePW, c.ModeratorPW, signRef(r.refKey, t.ScopeKey, ref)).Query
	claimed, err := r.store.Claim(ctx, t.ID, c)
	if err != nil {
		r.reserve.Release(ctx, ref)
		return Claim{}, err
	}
	r.routes.apply(claimed, r.now())
	reason := "least_load"
	if lost != nil {
		reason = "failover"
	}
	if s, ok := r.servers.Server(serverID); ok {
		r.metrics.placements.WithLabelValues(s.Pool, reason).Inc()
	}
	return claimed, nil
}

// confirm records what the server answered and returns it as the tenant's. It
// reports moved when the claim has become somebody else's meanwhile.
func (r *Registry) confirm(ctx context.Context, c Claim, answer bbb.Answer) (out Created, moved bool) {
	ctx = context.WithoutCancel(ctx)
	to := c
	to.State = Running
	to.InternalID = answer.Text("internalMeetingID")
	to.CreateTime = answer.Int("createTime")
	if pw := answer.Text("attendeePW"); pw != "" {
		to.AttendeePW = pw
	}
	if pw := answer.Text("moderatorPW"); pw != "" {
		to.ModeratorPW = pw
	}
	answer = answer.Edit(func(f bbb.Fields) bbb.Fields { return f.With("meetingID", c.ExternalID) })
	to.Answer = answer.Bytes()
	out = Created{Answer: to.Answer, ServerID: c.ServerID}
	for range maxTurns {
		to.EndRequested = c.EndRequested
		moved, err := r.move(ctx, c, to)
		switch {
		case err == nil:
			if moved.EndRequested {
				r.endRequested(ctx, moved)
				out.over = true
			}
			return out, false
		case fault.Is(err, fault.Conflict):
			now, err := r.read(ctx, c.TenantID, c.ExternalID)
			switch {
			case err != nil && !fault.Is(err, fault.NotFound):
				r.confirmUnsaved(to)
				return out, false
			case err != nil || now.ID != c.ID:
				return Created{}, true
			case now.State == Running && now.InternalID == to.InternalID && len(now.Answer) > 0,
				now.State == Ending:
				return out, false
			case now.State == Running && now.InternalID != to.InternalID:
				return Created{}, true
			}
			to.ID, to.Seq, to.Generation, c = now.ID, now.Seq, now.Generation, now
		default:
			// The meeting exists and the claim on it is durable: the class can
			// start, the details are written when the store is back.
			r.confirmUnsaved(to)
			return out, false
		}
	}
	return Created{}, true
}

func (r *Registry) confirmUnsaved(c Claim) {
	r.routes.overlay(c, r.now())
	r.keepUnsaved(c)
}

// release gives the room up after a create that definitely had no effect.
func (r *Registry) release(ctx context.Context, c Claim, why string) bool {
	ctx = context.WithoutCancel(ctx)
	r.reserve.Release(ctx, c.Ref)
	to := c
	to.State = Released
	_, ok := r.settleMove(ctx, c, to, why)
	return ok
}

// repeat sends a claim's create again, to the same server with the same
// parameters: it finds the meeting or makes it.
func (r *Registry) repeat(ctx context.Context, c Claim, req Create) (out Created, moved bool, err error) {
	if err := samePasswords(c, req); err != nil {
		return Created{}, false, err
	}
	if r.leaveToSettle(c) {
		return Created{}, false, errUnsettled
	}
	// The row changes before the server is called: no replica may release the
	// claim because the create that was sent before has not turned up. An end
	// that came before this create is overtaken by it.
	to := c
	to.State, to.EndRequested = Unknown, false
	c, err = r.move(ctx, c, to)
	if fault.Is(err, fault.Conflict) || fault.Is(err, fault.NotFound) {
		return Created{}, true, nil
	}
	if err != nil {
		return Created{}, false, err
	}
	answer, result := r.sendCreate(ctx, c, req.Body)
	switch result {
	case created:
		out, moved = r.confirm(ctx, c, answer)
		return out, moved, nil
	case tenantFault:
		r.release(ctx, c, "refused: "+answer.Key())
		return Created{}, false, refused(answer)
	case unknown, serverFault:
		// A server that refuses now may still hold what it was asked first.
	}
	return Created{}, false, errUnsettled
}

// leaveToSettle reports whether a create must not be sent again, since every time
// begins the wait for its outcome anew: people who try again every few seconds
// would keep the room for ever on a server that does not open it.
func (r *Registry) leaveToSettle(c Claim) bool {
	_, down := r.servers.DownSince(c.ServerID)
	known, ok := r.routes.byClaim(c.ID)
	return down || ok && r.now().Sub(known.first) > r.limits.LostAfterEmpty
}
