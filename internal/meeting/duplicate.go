package meeting

import (
	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/fault"
)

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
