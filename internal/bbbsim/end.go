package bbbsim

import (
	"fmt"
	"time"
)

const (
	keyEndSent  = "sentEndMeetingRequest"
	textEndSent = "A request to end the meeting was sent. Please wait a few seconds, and then use the getMeetingInfo or " +
		"isMeetingRunning API calls to verify that it was ended."
)

// end serves the call end (BBB API). The meeting stays as it is until the part of
// the server that runs it has ended it (Config.EndDelay); then it is forgotten.
func (s *Server) end(req *apiRequest) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.advance()
	p := req.params
	var c checks
	c.meetingID(p)
	s.known(&c, p)
	c.password(p, "password")
	if id, given := field(p, "meetingID"); given && id == "" {
		c.fail(keyEmpty, textNoMeetingID)
	}
	if s.cfg.Profile == Profile24 {
		s.moderatorPassword(&c, p)
	}
	if c.failed() {
		return failureAnswer(req, c.failure)
	}
	m := s.find(p.get("meetingID"))
	if m == nil {
		return failureAnswer(req, failure{keyNotFound, textUnknownMeeting})
	}
	s.endSoon(m, now)
	var x xmlWriter
	x.open("response")
	x.element("returncode", "SUCCESS")
	x.element("messageKey", keyEndSent)
	x.element("message", textEndSent)
	return xmlAnswer(x.close(), true)
}

const textNoMeetingID = "You must provide the meeting ID"

// moderatorPassword is the constraint of 2.4: end needs the moderators' password.
func (s *Server) moderatorPassword(c *checks, p params) {
	m := s.find(p.get("meetingID"))
	if m == nil {
		return // notFound says it already
	}
	password, given := field(p, "password")
	switch {
	case given && password == "":
		c.fail(keyEmpty, "You must provide the moderator password")
	case password != m.moderatorPW:
		c.fail(keyPassword, "The supplied moderator password is incorrect")
	}
}

// endSoon asks for the removal; a repeated end doesn't put it off.
func (s *Server) endSoon(m *meeting, now time.Time) {
	m.endsAt = earlier(m.endsAt, now.Add(s.scaled(s.cfg.EndDelay)))
	s.plan(m)
}

// EndFromInside ends a meeting as a moderator's "end meeting" button does. It is
// gone after Config.EndDelay.
func (s *Server) EndFromInside(meetingID string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.advance()
	m, err := s.named(meetingID)
	if err != nil {
		return fmt.Errorf("end from inside: %w", err)
	}
	s.endSoon(m, now)
	return nil
}
