package meeting

import (
	"context"
	"log/slog"

	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/fault"
	"github.com/bluegate/bluegate/internal/pool"
)

// End ends the tenant's meeting. The intent is in SQL before the server is
// called: when the server can't be reached, polling carries it out later.
//
// NotFound means that there is no such meeting, Unavailable that the intent
// could not be stored.
func (r *Registry) End(ctx context.Context, tenantID int64, id string) error {
	for range maxTurns {
		c, err := r.find(ctx, tenantID, id)
		if fault.Is(err, fault.NotFound) {
			return ErrNotFound
		}
		if err != nil {
			return err
		}
		to := c
		switch c.State {
		case Running:
			to.State = Ending
		case Ending:
			if r.sendEnd(ctx, c) == lookGone {
				r.gone(ctx, c)
				return ErrNotFound
			}
			return nil
		case Claimed, Unknown, Lost:
			to.EndRequested = true
		case Ended, Released, Superseded:
			return ErrNotFound
		}
		moved, err := r.move(ctx, c, to)
		if fault.Is(err, fault.Conflict) || fault.Is(err, fault.NotFound) {
			r.saveUnsaved(ctx) // it may be our own news that the row lacks
			continue
		}
		if err != nil {
			return err
		}
		if moved.State == Ending && r.sendEnd(ctx, moved) == lookGone {
			r.gone(ctx, moved)
		}
		return nil
	}
	return errBusyRoom
}

// endRequested ends a meeting whose end came before its create was answered.
func (r *Registry) endRequested(ctx context.Context, c Claim) {
	if err := r.End(ctx, c.TenantID, c.ExternalID); err != nil {
		r.log.LogAttrs(ctx, slog.LevelWarn, "end not carried out", slog.Int64("claim", c.ID), slog.String("error", err.Error()))
	}
}

// sendEnd asks the server to end exactly the claim's life of the room. BBB 2.5
// and later find a meeting by its internal ID; an older one is told the scoped
// ID, after a look that it still is this life. lookGone means that the server
// has no such meeting any more.
func (r *Registry) sendEnd(ctx context.Context, c Claim) look {
	ctx = context.WithoutCancel(ctx)
	end := func(meetingID string) look {
		call := bbb.Call{Name: "end"}.With("meetingID", meetingID).With("password", c.ModeratorPW)
		_, seen := readLook(r.servers.Call(ctx, c.ServerID, pool.Call{Call: call}))
		return seen
	}
	if seen := end(c.InternalID); seen != lookGone {
		return seen
	}
	answer, seen := r.lookAt(ctx, c)
	switch {
	case seen == lookFound && isLife(answer, c) && answer.Int("createTime") == c.CreateTime:
		return end(c.ScopedID)
	case seen == lookFound:
		return lookGone // another life
	}
	return seen
}
