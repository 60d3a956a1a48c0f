package gateway

import (
	"context"

	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/meeting"
)

// end ends the tenant's meeting with the right password, whatever the LMS sent:
// the checksum has proved who is asking (Chamilo 1.11.2 to 1.11.6 send the
// attendees' password).
func (g *Gateway) end(ctx context.Context, r *request) (answer, error) {
	if err := meeting.CheckCall(r.call, "meetingID"); err != nil {
		return answer{}, err
	}
	id, given := r.call.Param("meetingID")
	if given && id == "" {
		return answer{}, errNoID
	}
	if err := g.meetings.End(ctx, r.caller.Tenant.ID, id); err != nil {
		return answer{}, err
	}
	return xmlAnswer(bbb.EndSent()), nil
}
