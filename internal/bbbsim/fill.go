package bbbsim

import (
	"fmt"
	"strconv"
	"time"
)

// Fill creates meetings with users present in each, for load runs and benchmarks.
// They are called fill-1, fill-2 and so on and never expire by themselves while
// the users stay.
func (s *Server) Fill(meetings, users int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.advance()
	for range meetings {
		s.filled++
		id := "fill-" + strconv.Itoa(s.filled)
		m := s.plainMeeting(id, "Meeting "+strconv.Itoa(s.filled), now)
		// Six digits never meet those that create makes up.
		m.voiceBridge = strconv.Itoa(100_000 + s.filled)
		m.webVoice = m.voiceBridge
		s.insert(m)
		s.addUsers(m, users, now)
	}
}

// AddBreakouts opens n breakout rooms of a meeting, as moderators do from inside:
// with IDs the server makes up (BBB API, breakout rooms).
func (s *Server) AddBreakouts(meetingID string, n int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.advance()
	parent, err := s.named(meetingID)
	if err != nil {
		return fmt.Errorf("add breakout rooms: %w", err)
	}
	for range n {
		sequence := len(parent.rooms) + 1
		stamp := strconv.FormatInt(s.newCreateTime(now), 10)
		id := sha1Hex(parent.internalID+"-"+stamp+"-"+strconv.Itoa(sequence)) + "-" + stamp
		room := s.plainMeeting(id, parent.name+" (Room "+strconv.Itoa(sequence)+")", now)
		room.internalID = sha1Hex(id) + "-" + stamp
		room.voiceBridge = parent.voiceBridge + strconv.Itoa(sequence)
		room.webVoice = room.voiceBridge
		room.metadata = parent.metadata
		room.parent, room.sequence = parent, sequence
		s.insert(room)
	}
	return nil
}

// plainMeeting is a meeting with nothing special about it, not in memory yet.
func (s *Server) plainMeeting(id, name string, now time.Time) *meeting {
	createTime := s.newCreateTime(now)
	return &meeting{
		externalID: id, internalID: sha1Hex(id) + "-" + strconv.FormatInt(createTime, 10), name: name,
		createTime: createTime, created: now, dialNumber: defaultDialNumber, guestPolicy: "ALWAYS_ACCEPT",
		attendeePW: s.random(mixedAlphanumeric, passwordLength), moderatorPW: s.random(mixedAlphanumeric, passwordLength),
		expireIfNobodyJoined: expireIfNobodyJoined, expireAfterLastLeft: expireAfterLastLeft,
		endAfterNoModerator: endAfterNoModerator,
	}
}
