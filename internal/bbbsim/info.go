package bbbsim

import "time"

// isMeetingRunning serves the call of this name (BBB API): an unknown meeting is
// not running and no error.
func (s *Server) isMeetingRunning(req *apiRequest) answer {
	var c checks
	c.meetingID(req.params)
	if c.failed() {
		return failureAnswer(req, c.failure)
	}
	id, given := req.params.lookup("meetingID")
	if !given {
		return errorPage() // the hash of null
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance()
	m := s.find(id)
	var x xmlWriter
	x.open("response")
	x.element("returncode", "SUCCESS")
	x.boolean("running", m != nil && m.running())
	return xmlAnswer(x.close(), true)
}

// running is true as long as anybody is listed, that is a while longer than
// anybody is there.
func (m *meeting) running() bool { return m.count().listed > 0 }

// getMeetingInfo serves the call of this name (BBB API).
func (s *Server) getMeetingInfo(req *apiRequest) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.advance()
	var c checks
	c.meetingID(req.params)
	s.known(&c, req.params)
	if c.failed() {
		return failureAnswer(req, c.failure)
	}
	m := s.find(req.params.get("meetingID"))
	if m == nil {
		return failureAnswer(req, failure{keyNotFound, textUnknownMeeting})
	}
	var x xmlWriter
	x.open("response")
	x.element("returncode", "SUCCESS")
	old := s.cfg.Profile == Profile24
	s.describe(&x, m, now, view{everybody: old, participants: old, grouped: old, groupedMax: old})
	return xmlAnswer(x.close(), false)
}

const textUnknownMeeting = "A meeting with that ID does not exist"

// known is the constraint that the meeting exists.
func (s *Server) known(c *checks, p params) {
	id, given := field(p, "meetingID")
	if !given || s.exists(id) == nil {
		c.fail(keyNotFound, textUnknownMeeting)
	}
}

// getMeetings serves the call of this name (BBB API).
func (s *Server) getMeetings() answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.advance()
	x := xmlWriter{buf: make([]byte, 0, s.rendered+s.rendered/8+512)}
	x.open("response")
	x.element("returncode", "SUCCESS")
	if len(s.meetings) == 0 {
		x.buf = append(x.buf, "<meetings/>\n"...)
		x.element("messageKey", "noMeetings")
		x.element("message", "no meetings were found on this server")
		return xmlAnswer(x.close(), true)
	}
	x.open("meetings")
	old := s.cfg.Profile == Profile24
	for _, m := range s.meetings {
		x.open("meeting")
		s.describe(&x, m, now, view{everybody: true, participants: old, grouped: true})
		x.shut("meeting")
	}
	x.shut("meetings")
	body := x.close()
	s.rendered = len(body)
	return xmlAnswer(body, true)
}

// view says how the calls and the versions differ in showing a meeting (BBB API,
// getMeetingInfo and getMeetings).
type view struct {
	everybody    bool // attendees include those that left a moment ago
	participants bool // and so does participantCount
	grouped      bool // counts are formatted by locale
	groupedMax   bool // and so is maxUsers
}

func (s *Server) describe(x *xmlWriter, m *meeting, now time.Time, v view) {
	n := m.count()
	participants := n.online
	if v.participants {
		participants = n.listed
	}
	x.element("meetingName", m.name)
	x.element("meetingID", m.externalID)
	x.element("internalMeetingID", m.internalID)
	x.number("createTime", m.createTime)
	x.element("createDate", m.createDate())
	x.element("voiceBridge", m.voiceBridge)
	x.element("dialNumber", m.dialNumber)
	x.element("attendeePW", m.attendeePW)
	x.element("moderatorPW", m.moderatorPW)
	x.boolean("running", n.listed > 0)
	x.number("duration", int64(m.duration))
	x.boolean("hasUserJoined", m.joined)
	x.boolean("recording", m.record)
	x.boolean("hasBeenForciblyEnded", false)
	x.number("startTime", m.startTime(now))
	x.number("endTime", 0)
	x.count("participantCount", participants, v.grouped)
	x.count("listenerCount", n.listeners, v.grouped)
	x.count("voiceParticipantCount", n.voices, v.grouped)
	x.count("videoCount", n.videoStreams, v.grouped)
	x.count("maxUsers", m.maxUsers, v.groupedMax)
	x.count("moderatorCount", n.moderators, v.grouped)
	x.open("attendees")
	for _, u := range m.users {
		if u.present && (v.everybody || u.left.IsZero()) {
			s.attendee(x, u)
		}
	}
	x.shut("attendees")
	x.open("metadata")
	for _, item := range m.metadata {
		x.element(item.name, item.value)
	}
	x.shut("metadata")
	x.boolean("isBreakout", m.parent != nil)
	if m.parent != nil {
		x.element("parentMeetingID", m.parent.internalID)
		x.count("sequence", m.sequence, true)
		x.boolean("freeJoin", m.freeJoin)
	}
	if len(m.rooms) > 0 {
		x.open("breakoutRooms")
		for _, room := range m.rooms {
			x.element("breakout", room.externalID)
		}
		x.shut("breakoutRooms")
	}
}

// startTime is 0 for the moment it takes to set the meeting up.
func (m *meeting) startTime(now time.Time) int64 {
	if now.Before(m.created.Add(startDelay)) {
		return 0
	}
	return m.createTime + startDelay.Milliseconds()
}

func (s *Server) attendee(x *xmlWriter, u *user) {
	x.open("attendee")
	x.element("userID", u.externalID)
	x.element("fullName", u.name)
	x.element("role", u.role())
	x.boolean("isPresenter", u.presenter)
	x.boolean("isListeningOnly", u.listening)
	x.boolean("hasJoinedVoice", u.voice)
	x.boolean("hasVideo", u.videos > 0)
	x.element("clientType", "HTML5")
	custom := u.meeting.customdata[u.externalID]
	// Since 3.0 the element is there for everybody.
	if len(custom) > 0 || s.cfg.Profile != Profile24 {
		x.open("customdata")
		for _, item := range custom {
			name := string(appendText(nil, item.name))
			x.element(name, item.value)
		}
		x.shut("customdata")
	}
	x.shut("attendee")
}
