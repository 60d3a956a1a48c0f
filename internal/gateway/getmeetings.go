package gateway

import (
	"context"

	"github.com/bluegate/bluegate/internal/meeting"
)

// getMeetings lists the tenant's meetings, without a call to any server.
func (g *Gateway) getMeetings(ctx context.Context, r *request) (answer, error) {
	if err := meeting.CheckCall(r.call); err != nil {
		return answer{}, err
	}
	return readAnswer(g.meetings.List(ctx, r.caller.Tenant.ID))
}
