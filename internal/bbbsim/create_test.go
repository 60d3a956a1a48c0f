package bbbsim

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

func createdXML(id, internal, parent, note, text string) string {
	return lines("<response>", "<returncode>SUCCESS</returncode>",
		"<meetingID>"+id+"</meetingID>", "<internalMeetingID>"+internal+"</internalMeetingID>",
		"<parentMeetingID>"+parent+"</parentMeetingID>", "<attendeePW>ap</attendeePW>", "<moderatorPW>mp</moderatorPW>",
		"<createTime>1700000000000</createTime>", "<voiceBridge>70757</voiceBridge>", "<dialNumber>613-555-1234</dialNumber>",
		"<createDate>Tue Nov 14 22:13:20 UTC 2023</createDate>", "<hasUserJoined>false</hasUserJoined>", "<duration>0</duration>",
		"<hasBeenForciblyEnded>false</hasBeenForciblyEnded>", "<messageKey>"+note+"</messageKey>", "<message>"+text+"</message>",
		"</response>")
}

const (
	ext1     = "name=Name&meetingID=ext-1&attendeePW=ap&moderatorPW=mp&voiceBridge=70757"
	dupText  = "This conference was already in existence and may currently be in progress."
	uniqText = "A meeting already exists with that meeting ID. Please use a different meeting ID."
)

func TestCreateAndDuplicate(t *testing.T) {
	t.Parallel()
	bothProfiles(t, func(t *testing.T, profile Profile) {
		t.Helper()
		s := newSim(t, Config{Profile: profile})
		internal := sha1Hex("ext-1") + "-1700000000000"
		wantXML(t, s.get("create", ext1), createdXML("ext-1", internal, "bbb-none", "", ""), true)
		s.clock.move(time.Minute)
		duplicate := createdXML("ext-1", internal, "bbb-none", "duplicateWarning", dupText)
		wantXML(t, s.get("create", ext1), duplicate, true)
		// Nothing is updated by a duplicate.
		changed := "name=Other&meetingID=ext-1&attendeePW=ap&moderatorPW=mp&voiceBridge=1&duration=5&dialNumber=1"
		wantXML(t, s.get("create", changed), duplicate, true)

		for _, passwords := range []string{"&attendeePW=ap", "&moderatorPW=mp", "&attendeePW=mp&moderatorPW=ap", "&attendeePW=apx&moderatorPW=mpx"} {
			wantFailure(t, s.get("create", "name=Name&meetingID=ext-1"+passwords), "idNotUnique", uniqText)
		}
		w := s.get("create", "name=Name&meetingID=ext-1&attendeePW=&moderatorPW=")
		if profile == Profile24 {
			wantFailure(t, w, "idNotUnique", uniqText)
		} else {
			wantXML(t, w, duplicate, true)
		}
		s.join("ext-1", "")
		s.clock.move(time.Second)
		if w := s.get("create", ext1); !strings.Contains(w.Body.String(), "<hasUserJoined>true</hasUserJoined>") {
			t.Errorf("after a join: %s", w.Body)
		}
	})
}

func TestCreateMakesUpWhatIsMissing(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{})
	s.get("create", "name=Name&meetingID=aa&attendeePW=&dialNumber=")
	s.get("create", "name=Name&meetingID=bb&record=1&duration=x&maxParticipants=-1")
	a, b := s.meeting("aa"), s.meeting("bb")
	for _, m := range []Meeting{a, b} {
		if len(m.AttendeePW) != 8 || len(m.ModeratorPW) != 8 || len(m.VoiceBridge) != 5 {
			t.Errorf("meeting %+v", m)
		}
	}
	if a.AttendeePW == b.AttendeePW || a.ModeratorPW == a.AttendeePW || a.VoiceBridge == b.VoiceBridge {
		t.Error("made-up values repeat")
	}
	if b.Record || b.Duration != 0 || b.MaxUsers != -1 {
		t.Errorf("record=1 is false, a bad duration 0, maxParticipants -1: %+v", b)
	}
}

func TestCreateIsReproducible(t *testing.T) {
	t.Parallel()
	voice := func(cfg Config) string {
		s := newSim(t, cfg)
		s.get("create", "name=Name&meetingID=aa")
		return s.meeting("aa").VoiceBridge + s.meeting("aa").ModeratorPW
	}
	one := voice(Config{Seed: 1})
	if again := voice(Config{Seed: 1}); again != one {
		t.Error("the same seed gives different values")
	}
	if one == voice(Config{Seed: 2}) || voice(Config{Name: "a"}) == voice(Config{Name: "b"}) {
		t.Error("different seeds or names give the same values")
	}
}

func TestCreateConstraints(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 257)
	astral := url.QueryEscape(strings.Repeat("\U0001F600", 129)) // 258 UTF-16 units
	const (
		nameText = "You must provide a meeting name"
		nameSize = "Meeting name must be between 2 and 256 characters"
		idSize   = "Meeting ID must be between 2 and 256 characters"
	)
	for query, want := range map[string][2]string{
		"meetingID=abc":                               {"nullError", nameText},
		"":                                            {"nullError", nameText},
		"name=&meetingID=abc":                         {"emptyError", nameText},
		"name=+%09&meetingID=abc":                     {"emptyError", nameText},
		"name=x&meetingID=abc":                        {"sizeError", nameSize},
		"name=" + long + "&meetingID=abc":             {"sizeError", nameSize},
		"name=" + astral + "&meetingID=abc":           {"sizeError", nameSize},
		"name=Name&meetingID=":                        {"sizeError", idSize},
		"name=Name&meetingID=x":                       {"sizeError", idSize},
		"name=Name&meetingID=" + long:                 {"sizeError", idSize},
		"name=Name&meetingID=a,b":                     {"validationError", "Meeting ID cannot contain &apos;,&apos;"},
		"name=Name&meetingID=abc&attendeePW=x":        {"invalidPassword", "Invalid password"},
		"name=Name&meetingID=abc&moderatorPW=" + long: {"invalidPassword", "Invalid password"},
		"name=Name&meetingID=abc&voiceBridge=x1":      {"validationError", "Voice bridge must be an integral value"},
		"name=Name&meetingID=abc&voiceBridge=12345678901234567890": {"validationError", "Voice bridge must be an integral value"},
		"name=Name&meetingID=abc&record=yes":                       {"validationError", "Record must be a boolean value (true or false)"},
		"name=Name&meetingID=abc&isBreakoutRoom=maybe": {
			"validationError", "You must provide a boolean value (true or false) for the breakout room",
		},
		// The order of several violations.
		"name=&meetingID=x&attendeePW=1":                   {"emptyError", nameText},
		"name=Name&meetingID=x&attendeePW=1":               {"invalidPassword", "Invalid password"},
		"name=x&meetingID=abc&record=yes":                  {"sizeError", nameSize},
		"meetingID=abc&record=yes":                         {"validationError", "Record must be a boolean value (true or false)"},
		"meetingID=" + long:                                {"sizeError", idSize},
		"name=Name&isBreakout=true&meetingID=abc&record=2": {"validationError", "Record must be a boolean value (true or false)"},
	} {
		bothProfiles(t, func(t *testing.T, profile Profile) {
			t.Helper()
			s := newSim(t, Config{Profile: profile})
			wantFailure(t, s.get("create", query), want[0], want[1])
			if len(s.Meetings()) != 0 {
				t.Error("created nevertheless")
			}
		})
	}
}

func TestCreateAcceptsOddIDs(t *testing.T) {
	t.Parallel()
	bothProfiles(t, func(t *testing.T, profile Profile) {
		t.Helper()
		s := newSim(t, Config{Profile: profile})
		for _, id := range []string{"a b", "ü<&>'\"", "100%", "a/b?c#d", strings.Repeat("é", 256)} {
			s.get("create", "name=Name&meetingID="+url.QueryEscape(id))
			if !s.alive(id) {
				t.Errorf("no meeting %q", id)
			}
		}
	})
}

func TestCreateMeetingIDWithBlanks(t *testing.T) {
	t.Parallel()
	bothProfiles(t, func(t *testing.T, profile Profile) {
		t.Helper()
		s := newSim(t, Config{Profile: profile})
		for _, id := range []string{"+abc", "abc%20", "ab%01c"} {
			w := s.get("create", "name=Name&meetingID="+id)
			if profile == Profile24 {
				if !strings.Contains(w.Body.String(), "SUCCESS") {
					t.Errorf("%s: %s", id, w.Body)
				}
				continue
			}
			wantFailure(t, w, "validationError", "Invalid meeting ID")
		}
		w := s.get("create", "name=Name")
		if profile == Profile24 {
			wantStatus(t, w, http.StatusInternalServerError)
		} else {
			wantFailure(t, w, "validationError", "Invalid meeting ID")
		}
	})
}

func TestCreateVoiceBridge(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{})
	s.create("one", "voiceBridge=00777", "webVoice=888")
	inUse := lines("<response>", "<returncode>FAILED</returncode>", "<errors>", "<error>", "<key>nonUniqueVoiceBridge</key>",
		"<message>The selected voice bridge is already in use.</message>", "</error>", "</errors>", "</response>")
	wantXML(t, s.get("create", "name=Name&meetingID=two&voiceBridge=00777"), inUse, true)
	wantXML(t, s.get("create", "name=Name&meetingID=two&voiceBridge=888"), inUse, true)
	wantXML(t, s.get("create", "name=Name&meetingID=two&voiceBridge=5&webVoice=00777"), inUse, true)
	s.create("three", "voiceBridge=777") // leading zeros make a difference
	if got := s.meeting("one").VoiceBridge; got != "00777" {
		t.Errorf("voice bridge %q", got)
	}
	// When the ID exists too, the rule of duplicates wins.
	if w := s.get("create", "name=Name&meetingID=one&attendeePW=ap&moderatorPW=mp&voiceBridge=777"); !strings.Contains(w.Body.String(), "duplicateWarning") {
		t.Errorf("body %s", w.Body)
	}
	// A long that is no int is validated and then not parsed.
	wantStatus(t, s.get("create", "name=Name&meetingID=four&voiceBridge=99999999999"), http.StatusInternalServerError)
	// The number is free again when the meeting is gone.
	if err := s.EndFromInside("one"); err != nil {
		t.Fatal(err)
	}
	s.clock.move(time.Second)
	s.create("two", "voiceBridge=00777", "webVoice=888")
}

func TestCreateTestVoiceBridge(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{})
	if m := s.create("aa", "voiceBridge=99999"); m.InternalID != "-1700000000000" {
		t.Errorf("internal ID %q", m.InternalID)
	}
	// Its empty base collides with every meeting.
	wantFailure(t, s.get("create", "name=Name&meetingID=bb&attendeePW=xx&moderatorPW=yy&voiceBridge=99999"), "idNotUnique", uniqText)
}

func TestCreateMetadata(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{})
	s.create("abc", "meta_Foo-Bar=1", "meta_foo_bar=2", "meta_1a=3", "meta_=4", "meta_empty=", "meta_foo-bar=5",
		"meta_esc=%3Ca%3E+%26+%22q%22+%27s%27", "META_x=6", "meta_a.b=7")
	want := lines("<metadata>", "<foo-bar>1</foo-bar>", "<empty></empty>",
		"<esc>&lt;a&gt; &amp; &quot;q&quot; &apos;s&apos;</esc>", "</metadata>")
	if body := s.get("getMeetingInfo", "meetingID=abc").Body.String(); !strings.Contains(body, want) {
		t.Errorf("metadata in\n%s\nwant\n%s", body, want)
	}
}

const modulesXML = `<?xml version="1.0" encoding="ISO-8859-1"?>
<modules>
  <module name="presentation">
    <document url="https://x/a.pdf" filename="a.pdf" current="true"/>
    <document name="Lección.pdf">QUJD</document>
  </module>
  <module><document url="ignored"/></module>
  <other name="unknown"><![CDATA[{}]]></other>
</modules>`

func TestCreateModules(t *testing.T) {
	t.Parallel()
	bothProfiles(t, func(t *testing.T, profile Profile) {
		t.Helper()
		for _, contentType := range []string{"application/xml", "text/xml; charset=utf-8"} {
			s := newSim(t, Config{Profile: profile})
			w := s.post("create", signed("create", ext1), contentType, modulesXML)
			wantXML(t, w, createdXML("ext-1", sha1Hex("ext-1")+"-1700000000000", "bbb-none", "", ""), true)
			modules := s.meeting("ext-1").Modules
			if len(modules) != 2 || modules[0].Name != "presentation" || modules[1].Name != "unknown" {
				t.Fatalf("modules %+v", modules)
			}
			want := []Document{{Filename: "a.pdf", URL: "https://x/a.pdf"}, {Name: "Lección.pdf", Content: 4}}
			if got := modules[0].Documents; len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
				t.Errorf("documents %+v", got)
			}
			if got := string(s.Requests()[0].Body); got != modulesXML {
				t.Errorf("logged body %q", got)
			}
		}
	})
}

func TestCreateBadModules(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"unclosed": "<modules><module name='presentation'>", "no XML": "hello", "two roots": "<a/><b/>",
		"trailing text": "<a/>x", "document type": "<!DOCTYPE a><a/>", "blank": "  ", "entity": "<a>&nope;</a>",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bothProfiles(t, func(t *testing.T, profile Profile) {
				t.Helper()
				s := newSim(t, Config{Profile: profile})
				wantStatus(t, s.post("create", signed("create", ext1), "application/xml", body), http.StatusInternalServerError)
				// 2.4 has created the meeting before it looks at the body.
				if got, want := s.alive("ext-1"), profile == Profile24; got != want {
					t.Errorf("created %v, want %v", got, want)
				}
			})
		})
	}
}

func TestCreateBadModulesOfADuplicate(t *testing.T) {
	t.Parallel()
	bothProfiles(t, func(t *testing.T, profile Profile) {
		t.Helper()
		s := newSim(t, Config{Profile: profile})
		s.get("create", ext1)
		w := s.post("create", signed("create", ext1), "application/xml", "<broken")
		if profile == Profile24 {
			if !strings.Contains(w.Body.String(), "duplicateWarning") {
				t.Errorf("body %s", w.Body)
			}
			return
		}
		wantStatus(t, w, http.StatusInternalServerError)
	})
}

func TestCreateByForm(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{})
	body := ext1 + "&checksum=" + sign("create", "")
	wantXML(t, s.post("create", "", "application/x-www-form-urlencoded", body),
		createdXML("ext-1", sha1Hex("ext-1")+"-1700000000000", "bbb-none", "", ""), true)

	multipart := "--b\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nFrom the body\r\n" +
		"--b\r\nContent-Disposition: form-data; name=\"meetingID\"\r\n\r\nlost\r\n--b--\r\n"
	w := s.post("create", signed("create", "meetingID=multi"), "multipart/form-data; boundary=b", multipart)
	if !strings.Contains(w.Body.String(), "<meetingID>multi</meetingID>") || s.meeting("multi").Name != "From the body" {
		t.Errorf("the query's value wins: %s", w.Body)
	}
}

func TestContentTypes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		call, contentType string
		ok                bool
	}{
		{"create", "application/xml", true},
		{"create", "multipart/form-data; boundary=b", true},
		{"create", "text/plain", false},
		{"create", "", false},
		{"create", "application/json", false},
		{"getMeetings", "application/x-www-form-urlencoded", true},
		{"getMeetings", "application/xml", false},
		{"end", "text/xml", false},
		{"getRecordings", "text/xml", true},
	} {
		bothProfiles(t, func(t *testing.T, profile Profile) {
			t.Helper()
			s := newSim(t, Config{Profile: profile})
			w := s.post(test.call, signed(test.call, "name=Name&meetingID=abc"), test.contentType, "<a/>")
			refused := strings.Contains(w.Body.String(), "unsupportedContentType")
			if want := !test.ok && profile == Profile30; refused != want {
				t.Errorf("%s %q: refused %v, want %v: %s", test.call, test.contentType, refused, want, w.Body)
			}
			if refused {
				wantFailure(t, w, "unsupportedContentType", "POST request Content-Type is missing or unsupported")
			}
		})
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	bothProfiles(t, func(t *testing.T, profile Profile) {
		t.Helper()
		s := newSim(t, Config{Profile: profile})
		s.create("abc")
		w := s.post("join", signed("join", "meetingID=abc&fullName=Jo&password=mp"), "", "")
		if profile == Profile24 {
			if w.Code != http.StatusFound {
				t.Errorf("status %d", w.Code)
			}
			return
		}
		wantStatus(t, w, http.StatusMethodNotAllowed)
	})
}

func TestCreateBreakout(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{})
	parent := s.create("parent")
	room := "name=Name&meetingID=room-x&attendeePW=ap&moderatorPW=mp&voiceBridge=70757&isBreakout=true"
	wantFailure(t, s.get("create", room), "parentMeetingIDMissing", "No parent meeting ID was provided for the breakout room")
	wantFailure(t, s.get("create", room+"&parentMeetingID=nope"), "parentMeetingDoesNotExist", "No parent meeting exists for the breakout room")
	wantStatus(t, s.get("create", room+"&parentMeetingID=parent"), http.StatusInternalServerError) // no sequence
	wantXML(t, s.get("create", room+"&parentMeetingID=parent&sequence=2&freeJoin=true"),
		createdXML("room-x", "room-x", parent.InternalID, "", ""), true)
	info := s.get("getMeetingInfo", "meetingID=room-x").Body.String()
	want := lines("<isBreakout>true</isBreakout>", "<parentMeetingID>"+parent.InternalID+"</parentMeetingID>",
		"<sequence>2</sequence>", "<freeJoin>true</freeJoin>", "</response>")
	if !strings.HasSuffix(info, want) {
		t.Errorf("room %s", info)
	}
	info = s.get("getMeetingInfo", "meetingID=parent").Body.String()
	want = lines("<isBreakout>false</isBreakout>", "<breakoutRooms>", "<breakout>room-x</breakout>", "</breakoutRooms>", "</response>")
	if !strings.HasSuffix(info, want) {
		t.Errorf("parent %s", info)
	}
	// isBreakout=false is no breakout, and rooms go with their parent.
	s.create("plain", "isBreakout=false")
	s.get("end", "meetingID=parent")
	s.clock.move(time.Second)
	if s.alive("room-x") || s.alive("parent") || !s.alive("plain") {
		t.Errorf("meetings %+v", s.Meetings())
	}
}

func TestAddBreakouts(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{})
	parent := s.create("parent", "voiceBridge=70757")
	s.addUsers("parent", 1)
	if err := s.AddBreakouts("parent", 2); err != nil {
		t.Fatal(err)
	}
	rooms := s.Meetings()[1:]
	if len(rooms) != 2 || rooms[0].ParentID != parent.InternalID || rooms[0].InternalID == rooms[1].InternalID ||
		rooms[0].VoiceBridge != "707571" || len(rooms[0].MeetingID) != 54 || len(rooms[0].InternalID) != 54 {
		t.Fatalf("rooms %+v", rooms)
	}
	// A breakout room doesn't expire.
	s.clock.move(time.Hour)
	if len(s.Meetings()) != 3 {
		t.Errorf("meetings %+v", s.Meetings())
	}
	if err := s.AddBreakouts("nope", 1); err == nil {
		t.Error("no error for an unknown parent")
	}
}

func TestUnknownCalls(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{})
	for _, path := range []string{
		"/bigbluebutton/api/getDefaultConfigXML?checksum=x", "/bigbluebutton/api/hooks/list", "/bigbluebutton/api/Create",
		"/bigbluebutton/other", "/", "/bigbluebuttonx/api/create", "/bigbluebutton/bigbluebutton/api/create",
	} {
		w := s.do(httptest.NewRequest(http.MethodGet, path, http.NoBody))
		wantStatus(t, w, http.StatusNotFound)
		if !strings.Contains(w.Body.String(), "Page Not Found (404)") {
			t.Errorf("%s: %s", path, w.Body)
		}
	}
	w := s.do(httptest.NewRequest(http.MethodGet, "/bigbluebutton/api/%3Cb%3E", http.NoBody))
	if strings.Contains(w.Body.String(), "<b>") {
		t.Error("the path is not escaped")
	}
	if s.Count("hooks/list") != 1 || s.Count("create") != 0 || s.Count("") != 4 {
		t.Errorf("counts %d %d %d", s.Count("hooks/list"), s.Count("create"), s.Count(""))
	}
}

func TestPathsOfCalls(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{})
	for _, path := range []string{"/bigbluebutton/api/getMeetings", "//bigbluebutton//api//getMeetings", "/bigbluebutton/api/getMeetings/", "/bigbluebutton/api/getMeetings.xml"} {
		r := httptest.NewRequest(http.MethodGet, "/x?"+signed("getMeetings", ""), http.NoBody)
		r.URL.Path = path
		if w := s.do(r); !strings.Contains(w.Body.String(), "noMeetings") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}
