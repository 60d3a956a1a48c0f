package meeting

import (
	"context"

	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/tenant"
)

// heal opens a lost room again on another server: a new generation with the
// same parameters and passwords. LMSs never create again while they believe
// that the room is open, so a join heals it as well as a create. req is the
// create that asks for it, nil for a join.
func (r *Registry) heal(ctx context.Context, t tenant.Tenant, lost Claim, req *Create) (out Created, moved bool, err error) {
	again := Create{
		ExternalID: lost.ExternalID,
		ScopedID:   lost.ScopedID,
		Call:       bbb.Call{Name: "create", Query: lost.Params},
		AttendeePW: lost.AttendeePW, ModeratorPW: lost.ModeratorPW,
		Seats: lost.Seats,
	}
	if req != nil {
		if err := samePasswords(lost, *req); err != nil {
			return Created{}, false, err
		}
		again.Body = req.Body
	}
	out, moved, err = r.place(ctx, t, lost.SecretID, again, &lost)
	if err == nil && !moved {
		r.metrics.relocated.WithLabelValues("server_lost").Inc()
		r.log.InfoContext(ctx, "room healed on another server",
			"tenant", t.Slug, "lost_server_id", lost.ServerID, "server_id", out.ServerID)
	}
	return out, moved, err
}

// reopen makes sure that a room which is not known to run is: a lost one heals,
// one whose create was never answered is created again on its server.
func (r *Registry) reopen(ctx context.Context, t tenant.Tenant, externalID string) (Claim, error) {
	key := room{t.ID, externalID}
	for range maxTurns {
		c, err := r.read(ctx, t.ID, externalID)
		if err != nil {
			return Claim{}, err
		}
		switch {
		case c.State == Running:
			return c, nil
		case c.State == Ending, c.EndRequested:
			return Claim{}, errNoMeeting
		}
		f, leads := r.flights.join(key, "")
		if !leads {
			if _, err := f.wait(ctx); err != nil {
				return Claim{}, err
			}
			continue
		}
		if _, err := r.flights.lead(key, f, func() (Created, error) { return r.reopenOnce(ctx, t, c) }); err != nil {
			return Claim{}, err
		}
	}
	return Claim{}, errBusyRoom
}

// reopenOnce is one try of reopen. Nothing is created when the room moved.
func (r *Registry) reopenOnce(ctx context.Context, t tenant.Tenant, c Claim) (out Created, err error) {
	switch c.State {
	case Lost:
		out, _, err = r.heal(ctx, t, c, nil)
	case Claimed:
		if left := r.waitAnswered(ctx, c); !left {
			return Created{}, nil
		}
		out, _, err = r.repeat(ctx, c, Create{})
	case Unknown:
		out, _, err = r.repeat(ctx, c, Create{})
	case Running, Ending, Ended, Released, Superseded:
	}
	return out, err
}
