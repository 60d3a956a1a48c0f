package meeting

import (
	"context"
	"time"

	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/fault"
	"github.com/bluegate/bluegate/internal/pool"
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
	errSuspended = fault.New(fault.Denied, "tenantSuspended",
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

// maxServers is how many servers a create tries: the first and two more.
const maxServers = 3

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

// place claims the room on the best server, creates the meeting there and
// confirms it; a server that definitely did not create it is followed by the
// next one. With lost != nil the room heals: the new claim, once confirmed,
// supersedes the lost one. moved tells that the room was claimed by somebody
// else meanwhile.
func (r *Registry) place(ctx context.Context, t tenant.Tenant, secretID int64, req Create, lost *Claim,
) (out Created, moved bool, err error) {
	if t.State == tenant.Suspended && lost == nil {
		return Created{}, false, errSuspended
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

// repeated answers a create for a meeting that exists already, by BBB's rule:
// the passwords that are given must be those of the meeting.
func (r *Registry) repeated(c Claim, req Create, hasUserJoined string, stale bool) (Created, error) {
	if err := samePasswords(c, req); err != nil {
		return Created{}, err
	}
	if stale {
		r.metrics.stale.WithLabelValues("create").Inc()
	}
	stored := c.Answer
	if len(stored) == 0 {
		stored = r.life(c).Created(false, "", "")
	}
	return Created{Answer: asDuplicate(stored, hasUserJoined), ServerID: c.ServerID, Stale: stale}, nil
}

func samePasswords(c Claim, req Create) error {
	if req.AttendeePW != "" && req.AttendeePW != c.AttendeePW || req.ModeratorPW != "" && req.ModeratorPW != c.ModeratorPW {
		return errNotUnique
	}
	return nil
}

// duplicateOf answers a create with what another one in flight was answered.
func duplicateOf(out Created, req Create) (Created, error) {
	answer, err := bbb.ParseAnswer(out.Answer)
	if err != nil {
		return Created{}, fault.Wrap(fault.Internal, "internalError", "The answer cannot be read.", err)
	}
	c := Claim{AttendeePW: answer.Text("attendeePW"), ModeratorPW: answer.Text("moderatorPW")}
	if err := samePasswords(c, req); err != nil {
		return Created{}, err
	}
	out.Answer, out.Coalesced = asDuplicate(out.Answer, ""), true
	return out, nil
}

func asDuplicate(stored []byte, hasUserJoined string) []byte {
	answer, err := bbb.ParseAnswer(stored)
	if err != nil { // it was scanned before it was stored
		return stored
	}
	return answer.Edit(func(f bbb.Fields) bbb.Fields {
		key, message := bbb.DuplicateWarning()
		f = f.With("messageKey", key).With("message", message)
		if hasUserJoined != "" {
			f = f.With("hasUserJoined", hasUserJoined)
		}
		return f
	}).Bytes()
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
