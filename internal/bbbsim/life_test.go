package bbbsim

import (
	"strings"
	"testing"
	"time"
)

// livesFor moves the clock second by second and returns after how many the
// meeting is gone.
func (s *sim) livesFor(id string, limit time.Duration) time.Duration {
	s.t.Helper()
	for d := time.Duration(0); d <= limit; d += time.Second {
		if !s.alive(id) {
			return d
		}
		s.clock.move(time.Second)
	}
	return -1
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	// Limits are exceeded at the first audit (every 10 s) after them.
	for name, test := range map[string]struct {
		extra      []string
		people     int
		leaveAfter time.Duration // 0: they stay
		on24, on30 time.Duration // -1: lives on
	}{
		"never joined":              {nil, 0, 0, 310 * time.Second, 310 * time.Second},
		"never joined, set":         {[]string{"meetingExpireIfNoUserJoinedInMinutes=2"}, 0, 0, 310 * time.Second, 130 * time.Second},
		"somebody is there":         {nil, 1, 0, -1, -1},
		"duration":                  {[]string{"duration=3"}, 1, 0, 190 * time.Second, 190 * time.Second},
		"duration of an empty one":  {[]string{"duration=30"}, 0, 0, 310 * time.Second, 310 * time.Second},
		"all left":                  {nil, 2, 5 * time.Second, 70 * time.Second, 70 * time.Second},
		"all left later":            {nil, 2, 405 * time.Second, 470 * time.Second, 470 * time.Second},
		"all left, set":             {[]string{"meetingExpireWhenLastUserLeftInMinutes=3"}, 2, 5 * time.Second, 70 * time.Second, 190 * time.Second},
		"all left, 0 ends at once":  {[]string{"meetingExpireWhenLastUserLeftInMinutes=0"}, 2, 5 * time.Second, 70 * time.Second, 5 * time.Second},
		"a bad number is a default": {[]string{"meetingExpireIfNoUserJoinedInMinutes=x"}, 0, 0, 310 * time.Second, 310 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bothProfiles(t, func(t *testing.T, profile Profile) {
				t.Helper()
				s := newSim(t, Config{Profile: profile})
				s.create("abc", test.extra...)
				s.addUsers("abc", test.people)
				var before time.Duration
				if test.leaveAfter > 0 {
					s.clock.move(test.leaveAfter)
					s.removeUsers("abc", test.people)
					before = test.leaveAfter
				}
				want := test.on30
				if profile == Profile24 {
					want = test.on24
				}
				got := s.livesFor("abc", time.Hour)
				if got >= 0 {
					got += before
				}
				if got != want {
					t.Errorf("lives for %v, want %v", got, want)
				}
			})
		})
	}
}

func TestEndWhenNoModerator(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{})
	s.create("abc", "endWhenNoModerator=true", "endWhenNoModeratorDelayInMinutes=2")
	s.get("join", "meetingID=abc&fullName=Jo&password=ap")
	s.clock.move(10 * time.Minute)
	if !s.alive("abc") {
		t.Fatal("ended although no moderator has been there yet")
	}
	s.join("abc", "")
	s.clock.move(5 * time.Second)
	s.removeUsers("abc", 1) // the newest: the moderator
	s.clock.move(time.Minute)
	s.join("abc", "") // back in time
	s.clock.move(5 * time.Minute)
	s.removeUsers("abc", 1)
	if got := s.livesFor("abc", time.Hour); got <= 2*time.Minute || got > 2*time.Minute+11*time.Second {
		t.Errorf("lives for %v after the last moderator left", got)
	}
}

// Events take place in the order of their times, also when nobody looked for long.
func TestArrivalJustBeforeExpiry(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{JoinDelay: 5 * time.Second})
	s.create("abc")
	s.clock.move(304 * time.Second)
	s.join("abc", "")
	s.clock.move(time.Hour)
	if !s.alive("abc") {
		t.Error("expired although somebody arrived before")
	}
	s.create("def")
	s.clock.move(306 * time.Second)
	s.join("def", "")
	s.clock.move(time.Hour)
	if s.alive("def") {
		t.Error("lives although nobody arrived in time")
	}
}

func TestUsersArriveAndLinger(t *testing.T) {
	t.Parallel()
	bothProfiles(t, func(t *testing.T, profile Profile) {
		t.Helper()
		s := newSim(t, Config{Profile: profile, JoinDelay: 3 * time.Second})
		s.create("abc", "meetingExpireWhenLastUserLeftInMinutes=5")
		s.join("abc", "")
		check := func(when string, running bool, joined bool, listedInInfo, countInInfo, listed, count string) {
			t.Helper()
			info, all := s.get("getMeetingInfo", "meetingID=abc").Body.String(), s.get("getMeetings", "").Body.String()
			got := []string{
				between(t, s.get("isMeetingRunning", "meetingID=abc").Body.String(), "<running>", "<"),
				between(t, info, "<hasUserJoined>", "<"), between(t, info, "<running>", "<"),
				strings.Repeat("x", strings.Count(info, "<attendee>")), between(t, info, "<participantCount>", "<"),
				strings.Repeat("x", strings.Count(all, "<attendee>")), between(t, all, "<participantCount>", "<"),
			}
			yes := map[bool]string{true: "true", false: "false"}
			want := []string{yes[running], yes[joined], yes[running], listedInInfo, countInInfo, listed, count}
			if strings.Join(got, ",") != strings.Join(want, ",") {
				t.Errorf("%s: %v, want %v", when, got, want)
			}
		}
		check("registered", false, false, "", "0", "", "0")
		s.clock.move(3*time.Second - 1)
		check("almost", false, false, "", "0", "", "0")
		s.clock.move(1)
		check("present", true, true, "x", "1", "x", "1")
		s.removeUsers("abc", 1)
		s.clock.move(59 * time.Second)
		if profile == Profile24 { // counts whoever left a moment ago
			check("lingering", true, true, "x", "1", "x", "1")
		} else {
			check("lingering", true, true, "", "0", "x", "0")
		}
		if body := s.get("getMeetingInfo", "meetingID=abc").Body.String(); between(t, body, "<moderatorCount>", "<") != "1" {
			t.Errorf("moderatorCount leaves out who left: %s", body)
		}
		s.clock.move(time.Second)
		if profile == Profile30 { // on 2.4 the meeting expires a moment later
			check("purged", false, true, "", "0", "", "0")
		}
	})
}

func TestSpeed(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{Speed: 60})
	s.create("abc")
	s.create("def")
	s.join("abc", "")
	s.clock.move(17 * time.Millisecond)
	if n := s.meeting("abc").Participants; n != 1 {
		t.Errorf("%d present after a scaled second", n)
	}
	s.clock.move(5*time.Second + 200*time.Millisecond)
	if s.alive("def") || !s.alive("abc") {
		t.Errorf("after five scaled minutes and an audit: %+v", s.Meetings())
	}
	s.removeUsers("abc", 1)
	s.clock.move(999 * time.Millisecond)
	if users := s.meeting("abc").Users; len(users) != 1 {
		t.Errorf("no longer listed: %+v", users)
	}
	s.clock.move(200 * time.Millisecond)
	if s.alive("abc") {
		t.Error("lives on a scaled minute after the last one left")
	}
}

func TestNoDelays(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{JoinDelay: -1, Linger: -1, EndDelay: -1})
	s.create("abc")
	s.join("abc", "")
	if n := s.meeting("abc").Participants; n != 1 {
		t.Errorf("%d present", n)
	}
	s.removeUsers("abc", 1)
	if users := s.meeting("abc").Users; len(users) != 0 {
		t.Errorf("still listed: %+v", users)
	}
	s.get("end", "meetingID=abc")
	if s.alive("abc") {
		t.Error("still there after end")
	}
}

func endXML() string {
	return success(lines("<messageKey>sentEndMeetingRequest</messageKey>",
		"<message>A request to end the meeting was sent. Please wait a few seconds, and then use the getMeetingInfo or "+
			"isMeetingRunning API calls to verify that it was ended.</message>"))
}

func TestEnd(t *testing.T) {
	t.Parallel()
	bothProfiles(t, func(t *testing.T, profile Profile) {
		t.Helper()
		const unknown = "A meeting with that ID does not exist"
		s := newSim(t, Config{Profile: profile})
		first := s.create("abc")
		s.addUsers("abc", 2)
		wantXML(t, s.get("end", "meetingID=abc&password=mp"), endXML(), true)
		// Until the removal all is as it was, and a create is a duplicate.
		if m := s.meeting("abc"); !m.Ended || m.Participants != 2 {
			t.Errorf("after end: %+v", m)
		}
		if body := s.get("create", "name=Name&meetingID=abc&attendeePW=ap&moderatorPW=mp").Body.String(); !strings.Contains(body, "duplicateWarning") {
			t.Errorf("create before the removal: %s", body)
		}
		s.clock.move(200 * time.Millisecond)
		wantXML(t, s.get("end", "meetingID=abc&password=mp"), endXML(), true) // doesn't put it off
		s.clock.move(100 * time.Millisecond)
		if s.alive("abc") {
			t.Fatal("still there")
		}
		wantFailure(t, s.get("end", "meetingID=abc&password=mp"), "notFound", unknown)
		wantFailure(t, s.get("getMeetingInfo", "meetingID=abc"), "notFound", unknown)
		wantFailure(t, s.get("end", ""), "notFound", unknown)
		wantFailure(t, s.get("end", "meetingID="), "emptyError", "You must provide the meeting ID")

		second := s.create("abc")
		if second.InternalID == first.InternalID || second.CreateTime <= first.CreateTime {
			t.Errorf("new life %+v", second)
		}
		wantErrorRedirect(t, s.get("join", "meetingID=abc&fullName=Jo&password=mp&createTime=1700000000000"), home,
			"mismatchCreateTimeParam", "The createTime parameter submitted mismatches with the current meeting.")
	})
}

func TestEndPassword(t *testing.T) {
	t.Parallel()
	for query, want24 := range map[string][2]string{
		"":                {"invalidPassword", "The supplied moderator password is incorrect"},
		"&password=ap":    {"invalidPassword", "The supplied moderator password is incorrect"},
		"&password=":      {"emptyError", "You must provide the moderator password"},
		"&password=mp&x=": {"", ""},
	} {
		bothProfiles(t, func(t *testing.T, profile Profile) {
			t.Helper()
			s := newSim(t, Config{Profile: profile})
			s.create("abc")
			w := s.get("end", "meetingID=abc"+query)
			if profile == Profile30 || want24[0] == "" {
				wantXML(t, w, endXML(), true)
				return
			}
			wantFailure(t, w, want24[0], want24[1])
			if s.meeting("abc").Ended {
				t.Error("ended nevertheless")
			}
		})
	}
	s := newSim(t, Config{})
	s.create("abc")
	wantFailure(t, s.get("end", "meetingID=abc&password=x"), "invalidPassword", "Invalid password")
}

func TestEndFromInside(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{})
	s.create("abc")
	if err := s.EndFromInside("abc"); err != nil {
		t.Fatal(err)
	}
	s.clock.move(DefaultEndDelay)
	if s.alive("abc") {
		t.Error("still there")
	}
	if err := s.EndFromInside("abc"); err == nil {
		t.Error("no error for an unknown meeting")
	}
}

func TestUsersByHand(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{})
	m := s.create("abc")
	s.addUsers("abc", 3)
	s.addUsers(m.InternalID, 2)
	users := s.meeting("abc").Users
	if len(users) != 5 || users[0].Role != "MODERATOR" || !users[0].Presenter || users[1].Role != "VIEWER" || users[3].Role != "VIEWER" {
		t.Errorf("users %+v", users)
	}
	s.removeUsers("abc", 4)
	if users := s.meeting("abc").Users; s.meeting("abc").Participants != 1 || users[0].Left || !users[4].Left {
		t.Errorf("users %+v", users)
	}
	for name, err := range map[string]error{
		"unknown meeting":   s.AddUsers("nope", 1),
		"negative":          s.AddUsers("abc", -1),
		"remove unknown":    s.RemoveUsers("nope", 1),
		"remove negative":   s.RemoveUsers("abc", -1),
		"remove too many":   s.RemoveUsers("abc", 2),
		"media of a nobody": s.SetMedia("nope", 1, 1, 1),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if n := s.meeting("abc").Participants; n != 1 {
		t.Errorf("%d present after refused calls", n)
	}
}

// A presenter that leaves hands on to another moderator.
func TestPresenter(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{JoinDelay: -1})
	s.create("abc")
	s.get("join", "meetingID=abc&fullName=Viewer&password=ap")
	s.join("abc", "userID=m1")
	s.join("abc", "userID=m2")
	users := s.meeting("abc").Users
	if users[0].Presenter || !users[1].Presenter || users[2].Presenter {
		t.Fatalf("users %+v", users)
	}
	s.removeUsers("abc", 1)
	s.join("abc", "userID=m3")
	s.Meetings()
	s.mu.Lock()
	first := s.meetings[0].users[1]
	s.leave(first, s.clock.Now())
	s.mu.Unlock()
	if users := s.meeting("abc").Users; users[1].Presenter || !users[3].Presenter {
		t.Errorf("users %+v", users)
	}
}

func TestRestartAndReset(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{})
	first := s.create("abc", "voiceBridge=70757")
	s.join("abc", "")
	s.SetFaults(Faults{Latency: time.Nanosecond})
	s.Restart()
	if len(s.Meetings()) != 0 || len(s.sessions) != 0 || len(s.cookies) != 0 {
		t.Error("a restart forgets everything")
	}
	if s.Count("") != 2 || s.Faults().Latency == 0 {
		t.Error("a restart is no reset")
	}
	// The same room at the very same time is another life all the same.
	if again := s.create("abc", "voiceBridge=70757"); again.InternalID == first.InternalID {
		t.Error("the same internal ID again")
	}
	s.SetFaults(Faults{Mode: ModeError})
	s.Reset()
	if len(s.Meetings()) != 0 || s.Count("") != 0 || s.Count("create") != 0 || len(s.Requests()) != 0 || s.Faults().Mode != ModeOK {
		t.Error("a reset forgets requests and faults too")
	}
}

func TestSessionsGoWithTheirUsers(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{})
	s.create("abc")
	s.create("def")
	s.join("abc", "")
	s.join("def", "")
	s.get("end", "meetingID=abc")
	s.clock.move(5 * time.Second)
	s.removeUsers("def", 1)
	s.Meetings()
	if len(s.sessions) != 0 || len(s.cookies) != 0 || len(s.voices) != 1 || len(s.byID) != 1 {
		t.Errorf("left over: %d sessions, %d cookies, %d voices, %d IDs", len(s.sessions), len(s.cookies), len(s.voices), len(s.byID))
	}
}

func TestFill(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{})
	s.Fill(3, 20)
	s.Fill(1, 0)
	meetings := s.Meetings()
	if len(meetings) != 4 || meetings[2].MeetingID != "fill-3" || meetings[2].Participants != 20 || meetings[3].MeetingID != "fill-4" {
		t.Errorf("meetings %+v", meetings)
	}
	if body := s.get("getMeetingInfo", "meetingID=fill-2").Body.String(); !strings.Contains(body, "<participantCount>20<") {
		t.Errorf("body %s", body)
	}
}
