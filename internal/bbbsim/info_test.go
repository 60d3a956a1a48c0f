package bbbsim

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// infoLines is a meeting's description, from meetingName to isBreakout.
func infoLines(s *sim, id, state, attendees, metadata string) string {
	s.t.Helper()
	m := s.meeting(id)
	return lines("<meetingName>Name</meetingName>", "<meetingID>"+id+"</meetingID>",
		"<internalMeetingID>"+m.InternalID+"</internalMeetingID>", "<createTime>1700000000000</createTime>",
		"<createDate>Tue Nov 14 22:13:20 UTC 2023</createDate>", "<voiceBridge>70757</voiceBridge>",
		"<dialNumber>613-555-1234</dialNumber>", "<attendeePW>ap</attendeePW>", "<moderatorPW>mp</moderatorPW>",
		state, attendees, metadata, "<isBreakout>false</isBreakout>")
}

func stateLines(running, joined, start, counts string) string {
	return lines("<running>"+running+"</running>", "<duration>0</duration>", "<hasUserJoined>"+joined+"</hasUserJoined>",
		"<recording>false</recording>", "<hasBeenForciblyEnded>false</hasBeenForciblyEnded>",
		"<startTime>"+start+"</startTime>", "<endTime>0</endTime>", counts)
}

func countLines(participants, listeners, voices, videos, maxUsers, moderators string) string {
	return lines("<participantCount>"+participants+"</participantCount>", "<listenerCount>"+listeners+"</listenerCount>",
		"<voiceParticipantCount>"+voices+"</voiceParticipantCount>", "<videoCount>"+videos+"</videoCount>",
		"<maxUsers>"+maxUsers+"</maxUsers>", "<moderatorCount>"+moderators+"</moderatorCount>")
}

const (
	noAttendees = "<attendees>\n</attendees>"
	noMetadata  = "<metadata>\n</metadata>"
)

func success(body string) string {
	return "<response>\n<returncode>SUCCESS</returncode>\n" + body + "\n</response>"
}

func TestGetMeetingInfo(t *testing.T) {
	t.Parallel()
	bothProfiles(t, func(t *testing.T, profile Profile) {
		t.Helper()
		s := newSim(t, Config{Profile: profile})
		s.create("ext-1", "voiceBridge=70757", "meta_bbb-origin=greenlight")
		origin := "<metadata>\n<bbb-origin>greenlight</bbb-origin>\n</metadata>"
		zero := countLines("0", "0", "0", "0", "0", "0")
		wantXML(t, s.get("getMeetingInfo", "meetingID=ext-1"),
			success(infoLines(s, "ext-1", stateLines("false", "false", "0", zero), noAttendees, origin)), false)

		s.join("ext-1", "userID=u1&userdata-bbb_x=1&userdata-a-b=2&userdata-=3&xuserdata-c=4")
		s.clock.move(time.Second)
		if err := s.SetMedia("ext-1", 1, 0, 0); err != nil {
			t.Fatal(err)
		}
		attendees := lines("<attendees>", "<attendee>", "<userID>u1</userID>", "<fullName>Jo</fullName>", "<role>MODERATOR</role>",
			"<isPresenter>true</isPresenter>", "<isListeningOnly>false</isListeningOnly>", "<hasJoinedVoice>true</hasJoinedVoice>",
			"<hasVideo>false</hasVideo>", "<clientType>HTML5</clientType>", "<customdata>", "<bbb_x>1</bbb_x>", "</customdata>",
			"</attendee>", "</attendees>")
		one := stateLines("true", "true", "1700000000028", countLines("1", "0", "1", "0", "0", "1"))
		wantXML(t, s.get("getMeetingInfo", "meetingID=ext-1"), success(infoLines(s, "ext-1", one, attendees, origin)), false)
		wantXML(t, s.get("getMeetings", ""),
			success("<meetings>\n<meeting>\n"+infoLines(s, "ext-1", one, attendees, origin)+"\n</meeting>\n</meetings>"), true)
	})
}

// Since 3.0 customdata is there for everybody.
func TestEmptyCustomdata(t *testing.T) {
	t.Parallel()
	bothProfiles(t, func(t *testing.T, profile Profile) {
		t.Helper()
		s := newSim(t, Config{Profile: profile})
		s.create("abc")
		s.addUsers("abc", 1)
		body := s.get("getMeetingInfo", "meetingID=abc").Body.String()
		if got, want := strings.Contains(body, "<customdata>\n</customdata>"), profile == Profile30; got != want {
			t.Errorf("empty customdata %v, want %v: %s", got, want, body)
		}
	})
}

func TestGetMeetingsEmpty(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{})
	wantXML(t, s.get("getMeetings", ""), success(lines("<meetings/>", "<messageKey>noMeetings</messageKey>",
		"<message>no meetings were found on this server</message>")), true)
}

func TestGroupedCounts(t *testing.T) {
	t.Parallel()
	bothProfiles(t, func(t *testing.T, profile Profile) {
		t.Helper()
		s := newSim(t, Config{Profile: profile})
		s.create("abc", "maxParticipants=2000", "duration=1440")
		s.addUsers("abc", 1234)
		if err := s.SetMedia("abc", 1000, 200, 999); err != nil {
			t.Fatal(err)
		}
		grouped := countLines("1,234", "200", "1,000", "999", "2000", "1")
		if body := s.get("getMeetings", "").Body.String(); !strings.Contains(body, grouped) || !strings.Contains(body, "<duration>1440<") {
			t.Errorf("getMeetings: %s", body[:900])
		}
		info := countLines("1234", "200", "1000", "999", "2000", "1")
		if profile == Profile24 {
			info = countLines("1,234", "200", "1,000", "999", "2,000", "1")
		}
		if body := s.get("getMeetingInfo", "meetingID=abc").Body.String(); !strings.Contains(body, info) {
			t.Errorf("getMeetingInfo: %s", body[:900])
		}
	})
}

func TestAppendGrouped(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{0: "0", 7: "7", 999: "999", 1000: "1,000", 12345: "12,345", 1234567: "1,234,567", -1: "-1", -1234: "-1,234"} {
		if got := string(appendGrouped(nil, n)); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestAppendText(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                     "",
		"plain":                "plain",
		`<a href="x">&'b'</a>`: "&lt;a href=&quot;x&quot;&gt;&amp;&apos;b&apos;&lt;/a&gt;",
		"A   B":                "A B",
		"A \t B":               "A B",
		"A \n\n B\r\nC":        "A\nB\nC",
		"  A ":                 " A ",
		"é ü\u00a0\u00a0x":     "é ü\u00a0\u00a0x",
		"a\u2003\u2003b":       "a b",
		"a\u2028b":             "a b",
		"😀<":                   "😀&lt;",
		"&amp;":                "&amp;amp;",
	} {
		if got := string(appendText([]byte("x"), in)); got != "x"+want {
			t.Errorf("%q: %q, want %q", in, got[1:], want)
		}
	}
}

func TestWhiteSpaceCollapses(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{})
	s.get("create", "name=A+++B+%3C%26%3E&meetingID=a++b")
	body := s.get("getMeetingInfo", "meetingID=a++b").Body.String()
	if !strings.Contains(body, "<meetingName>A B &lt;&amp;&gt;</meetingName>\n<meetingID>a b</meetingID>") {
		t.Errorf("body %s", body)
	}
	if got := s.meeting("a  b").Name; got != "A   B <&>" {
		t.Errorf("the name itself is kept, got %q", got)
	}
	// The shown ID is not the meeting's ID.
	wantFailure(t, s.get("getMeetingInfo", "meetingID=a+b"), "notFound", "A meeting with that ID does not exist")
}

func TestIsMeetingRunning(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{})
	running := func(value string) string { return success("<running>" + value + "</running>") }
	wantXML(t, s.get("isMeetingRunning", "meetingID=nope"), running("false"), true)
	s.create("abc")
	wantXML(t, s.get("isMeetingRunning", "meetingID=abc"), running("false"), true)
	s.addUsers("abc", 1)
	wantXML(t, s.get("isMeetingRunning", "meetingID=abc"), running("true"), true)
	wantXML(t, s.post("isMeetingRunning", "", typeForm, "meetingID=abc&checksum="+sign("isMeetingRunning", "")), running("true"), true)
	wantFailure(t, s.get("isMeetingRunning", "meetingID="), "sizeError", "Meeting ID must be between 2 and 256 characters")
	wantFailure(t, s.get("isMeetingRunning", "meetingID=a,b"), "validationError", "Meeting ID cannot contain &apos;,&apos;")
	wantStatus(t, s.get("isMeetingRunning", ""), http.StatusInternalServerError)
}

func TestGetMeetingInfoFailures(t *testing.T) {
	t.Parallel()
	const unknown = "A meeting with that ID does not exist"
	s := newSim(t, Config{})
	for _, query := range []string{"meetingID=nope", "", "meetingID=", "meetingID=x", "meetingID=a,b", "meetingID=" + strings.Repeat("x", 300)} {
		wantFailure(t, s.get("getMeetingInfo", query), "notFound", unknown)
	}
	// "" begins every internal ID, so that it "exists" as soon as any meeting does.
	m := s.create("abc")
	wantFailure(t, s.get("getMeetingInfo", "meetingID="), "sizeError", "Meeting ID must be between 2 and 256 characters")
	wantFailure(t, s.get("getMeetingInfo", "meetingID="+m.InternalID[:1]), "sizeError", "Meeting ID must be between 2 and 256 characters")
	wantFailure(t, s.get("getMeetingInfo", ""), "notFound", unknown)
	// The trimmed ID is validated and the raw one looked for.
	wantFailure(t, s.get("getMeetingInfo", "meetingID=+abc"), "notFound", unknown)
}

func TestLookUpByPrefix(t *testing.T) {
	t.Parallel()
	bothProfiles(t, func(t *testing.T, profile Profile) {
		t.Helper()
		s := newSim(t, Config{Profile: profile})
		m := s.create("victim-1")
		for _, id := range []string{m.InternalID, m.InternalID[:2], m.InternalID[:10], m.InternalID[:41]} {
			body := s.get("getMeetingInfo", "meetingID="+id).Body.String()
			// 2.4 hashes the ID before it looks for it.
			if got, want := strings.Contains(body, "<meetingID>victim-1<"), profile == Profile30; got != want {
				t.Errorf("%s finds somebody's meeting %v, want %v", id, got, want)
			}
		}
		if body := s.get("getMeetingInfo", "meetingID="+m.InternalID[1:]).Body.String(); !strings.Contains(body, "notFound") {
			t.Errorf("found by the middle: %s", body)
		}
		// The own ID is found before another's hash begins with it, but a prefix
		// of an internal ID comes first of all.
		s.create(m.InternalID[:4])
		body := s.get("getMeetingInfo", "meetingID="+m.InternalID[:4]).Body.String()
		if got, want := strings.Contains(body, "<meetingID>victim-1<"), profile == Profile30; got != want {
			t.Errorf("the prefix wins %v, want %v", got, want)
		}
	})
}

// An internal ID names one life of a meeting only.
func TestInternalIDOfAnOlderLife(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{})
	first := s.create("abc")
	s.get("end", "meetingID="+first.InternalID)
	s.clock.move(time.Second)
	second := s.create("abc")
	if first.InternalID == second.InternalID {
		t.Fatal("two lives with one internal ID")
	}
	wantFailure(t, s.get("end", "meetingID="+first.InternalID), "notFound", "A meeting with that ID does not exist")
	if !s.alive("abc") {
		t.Error("the newer life was ended")
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	bothProfiles(t, func(t *testing.T, profile Profile) {
		t.Helper()
		s := newSim(t, Config{Profile: profile})
		body := []string{"<version>2.0</version>", "<apiVersion>2.0</apiVersion>", "<bbbVersion></bbbVersion>"}
		if profile == Profile30 {
			body = append(body, "<graphqlWebsocketUrl>wss://bbb.example.com/graphql</graphqlWebsocketUrl>",
				"<graphqlApiUrl>https://bbb.example.com/api/rest</graphqlApiUrl>")
		}
		for _, path := range []string{"/bigbluebutton", "/bigbluebutton/", "/bigbluebutton/api", "/bigbluebutton/api/"} {
			wantXML(t, s.do(httptest.NewRequest(http.MethodGet, path, http.NoBody)), success(lines(body...)), true)
		}
		if s.Count("index") != 4 {
			t.Errorf("counted %d", s.Count("index"))
		}
		r := httptest.NewRequest(http.MethodGet, "/bigbluebutton/api", http.NoBody)
		r.Header.Set("Content-Type", "application/json")
		isJSON := strings.HasPrefix(s.do(r).Body.String(), "{\n    \"response\": {\n        \"returncode\": \"SUCCESS\",\n")
		if isJSON != (profile == Profile30) {
			t.Errorf("JSON %v", isJSON)
		}
	})
}

func TestRecordings(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{})
	none := "<response>\n          <returncode>SUCCESS</returncode>\n          <recordings></recordings>\n" +
		"          <messageKey>noRecordings</messageKey>\n" +
		"          <message>There are no recordings for the meeting(s).</message>\n        </response>"
	wantXML(t, s.get("getRecordings", ""), none, false)
	wantXML(t, s.get("getRecordings", "meetingID=abc&recordID=x&limit=10"), none, false)

	const wrong = "You did not pass the checksum security check"
	wantFailure(t, s.raw("deleteRecordings", "recordID=x"), "checksumError", wrong)
	wantFailure(t, s.raw("deleteRecordings", "checksum=x"), "missingParamRecordID", "You must specify a recordID.")
	wantFailure(t, s.raw("publishRecordings", "checksum=x&recordID=x"), "missingParamPublish", "You must specify a publish value true or false.")
	wantFailure(t, s.raw("updateRecordings", "checksum=x&recordID=x"), "checksumError", wrong)
	for _, call := range []string{"publishRecordings", "deleteRecordings", "updateRecordings"} {
		wantFailure(t, s.get(call, "recordID=x&publish=true"), "notFound", "We could not find recordings")
	}
}
