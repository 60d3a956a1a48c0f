package gateway

import (
	"context"

	"github.com/bluegate/bluegate/internal/meeting"
)

// create creates the tenant's meeting, or finds it. The body is read only after
// the caller was verified.
func (g *Gateway) create(ctx context.Context, r *request) (answer, error) {
	body, done, err := g.bodies.read(r.Request, r.caller.Tenant.ID)
	defer done()
	if err != nil {
		return answer{}, err
	}
	req, err := meeting.NewCreate(r.caller.Tenant.ScopeKey, r.call, body)
	if err != nil {
		return answer{}, err
	}
	out, err := g.meetings.Create(ctx, r.caller.Tenant, r.caller.SecretID, req)
	if err != nil {
		return answer{}, err
	}
	a := xmlAnswer(out.Answer)
	a.serverID, a.stale, a.coalesced = out.ServerID, out.Stale, out.Coalesced
	return a, nil
}
