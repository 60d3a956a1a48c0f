package gateway

import (
	"context"
	"strings"

	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/meeting"
)

// isMeetingRunning reports whether anybody is in the meeting. An unknown
// meeting is not an error.
func (g *Gateway) isMeetingRunning(ctx context.Context, r *request) (answer, error) {
	if err := meeting.CheckCall(r.call, "meetingID"); err != nil {
		return answer{}, err
	}
	id := r.call.Value("meetingID")
	switch {
	case id == "" || bbb.UTF16Len(id) > 256:
		return answer{}, errIDSize
	case strings.Contains(id, ","):
		return answer{}, errIDComma
	}
	return readAnswer(g.meetings.IsRunning(ctx, r.caller.Tenant.ID, id))
}
