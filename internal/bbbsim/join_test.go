package bbbsim

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const (
	gone      = "You can not join a meeting that has already been forcibly ended"
	neitherPW = "The provided password is neither a moderator or attendee password"
	home      = "https://bbb.example.com?errors="
)

func TestJoinRedirects(t *testing.T) {
	t.Parallel()
	bothProfiles(t, func(t *testing.T, profile Profile) {
		t.Helper()
		s := newSim(t, Config{Profile: profile})
		s.create("abc")
		w := s.get("join", "meetingID=abc&fullName=Jo&password=mp")
		prefix := "https://bbb.example.com/html5client/?sessionToken="
		if profile == Profile24 {
			prefix = "https://bbb.example.com/html5client/join?sessionToken="
		}
		token, ok := strings.CutPrefix(w.Header().Get("Location"), prefix)
		if w.Code != http.StatusFound || !ok || len(token) != 16 || w.Header().Get("Cache-Control") != "no-cache" {
			t.Errorf("%d %v", w.Code, w.Header())
		}
		cookies := w.Result().Cookies()
		if len(cookies) != 1 || cookies[0].Name != "JSESSIONID" || len(cookies[0].Value) != 32 || !cookies[0].Secure || cookies[0].Path != "/bigbluebutton" {
			t.Fatalf("cookies %v", cookies)
		}
		// Another join of the same browser uses the same session.
		r := httptest.NewRequest(http.MethodGet, target("join", signed("join", "meetingID=abc&fullName=Jo&password=ap")), http.NoBody)
		r.AddCookie(cookies[0])
		if again := s.do(r); again.Code != http.StatusFound || len(again.Result().Cookies()) != 0 {
			t.Errorf("again: %d %v", again.Code, again.Header())
		}
		r.Header.Set("Cookie", "JSESSIONID=unknown")
		if other := s.do(r); len(other.Result().Cookies()) != 1 {
			t.Errorf("unknown session: %v", other.Header())
		}
	})
}

func TestJoinWithoutRedirect(t *testing.T) {
	t.Parallel()
	bothProfiles(t, func(t *testing.T, profile Profile) {
		t.Helper()
		s := newSim(t, Config{Profile: profile})
		m := s.create("abc")
		w := s.get("join", "meetingID=abc&fullName=Jo&password=mp&redirect=false&enforceLayout=x")
		body := w.Body.String()
		session := between(t, body, "<session_token>", "<")
		url := "https://bbb.example.com/html5client/?waitLayout=1&amp;sessionToken=" + session
		if profile == Profile24 {
			url = "https://bbb.example.com/html5client/join?sessionToken=" + session
		}
		wantXML(t, w, success(lines("<messageKey>successfullyJoined</messageKey>", "<message>You have joined successfully.</message>",
			"<meeting_id>"+m.InternalID+"</meeting_id>", "<user_id>"+s.meeting("abc").Users[0].InternalID+"</user_id>",
			"<auth_token>"+between(t, body, "<auth_token>", "<")+"</auth_token>", "<session_token>"+session+"</session_token>",
			"<guestStatus>ALLOW</guestStatus>", "<url>"+url+"</url>")), true)
		user := s.meeting("abc").Users[0]
		if !strings.HasPrefix(user.InternalID, "w_") || len(user.InternalID) != 14 || user.UserID != user.InternalID ||
			len(between(t, body, "<auth_token>", "<")) != 12 || len(w.Result().Cookies()) != 1 {
			t.Errorf("user %+v, answer %s", user, body)
		}
	})
}

// The quoting of the error in the URL, byte for byte.
func TestJoinErrorBytes(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{})
	const want = "https://bbb.example.com?errors=[%7B%22message%22:%22You%20can%20not%20join%20a%20meeting%20that%20has%20already" +
		"%20been%20forcibly%20ended%22,%22key%22:%22meetingForciblyEnded%22%7D]"
	w := s.get("join", "meetingID=nope&fullName=Jo&password=mp")
	if got := w.Header().Get("Location"); w.Code != http.StatusFound || got != want {
		t.Errorf("%d %s\nwant %s", w.Code, got, want)
	}
	if w.Body.Len() != 0 || w.Header().Get("Cache-Control") != "no-cache" {
		t.Errorf("%v %s", w.Header(), w.Body)
	}
}

func TestJoinValidation(t *testing.T) {
	t.Parallel()
	bothProfiles(t, func(t *testing.T, profile Profile) {
		t.Helper()
		s := newSim(t, Config{Profile: profile})
		s.create("abc")
		// Validation errors redirect whatever redirect says.
		for _, suffix := range []string{"", "&redirect=false"} {
			for query, want := range map[string][2]string{
				"meetingID=nope&fullName=Jo&password=mp":                 {"meetingForciblyEnded", gone},
				"fullName=Jo&password=mp":                                {"meetingForciblyEnded", gone},
				"meetingID=&fullName=Jo&password=mp":                     {"emptyError", "You must provide the meeting ID"},
				"meetingID=nope&fullName=&password=mp":                   {"missingParamFullName", "You must provide your name"},
				"meetingID=abc&fullName=+&password=mp":                   {"missingParamFullName", "You must provide your name"},
				"meetingID=abc&fullName=Jo&password=mp&guest=maybe":      {"validationError", "Guest must be a boolean value (true or false)"},
				"meetingID=abc&fullName=Jo&password=mp&auth=2":           {"validationError", "Auth must be a boolean value (true or false)"},
				"meetingID=abc&fullName=Jo&password=mp&createTime=today": {"validationError", "Value must be an integral number"},
			} {
				wantErrorRedirect(t, s.get("join", query+suffix), home, want[0], want[1])
			}
		}
		short := [2]string{"invalidPassword", "Invalid password"}
		if profile == Profile24 {
			short[1] = neitherPW
		}
		wantErrorRedirect(t, s.get("join", "meetingID=abc&fullName=Jo&password=x"), home, short[0], short[1])
		wantStatus(t, s.get("join", "meetingID=abc&password=mp"), http.StatusInternalServerError)
		if n := len(s.meeting("abc").Users); n != 0 {
			t.Errorf("%d users registered", n)
		}
	})
}

func TestJoinPasswordAndRole(t *testing.T) {
	t.Parallel()
	const (
		paramsRequired = "Params required"
		wrong          = "You must enter a valid password"
		neither        = "You must either send the valid role of the user, or the password, sould the meeting has one."
	)
	for query, want := range map[string]struct {
		role24, role30 string // "" is an error
		text30         string
	}{
		"password=mp":                {"MODERATOR", "MODERATOR", ""},
		"password=ap":                {"VIEWER", "VIEWER", ""},
		"password=ap&role=moderator": {"MODERATOR", "MODERATOR", ""},
		"password=mp&role=VIEWER":    {"VIEWER", "VIEWER", ""},
		"password=mp&role=teacher":   {"MODERATOR", "MODERATOR", ""},
		"role=Moderator":             {"", "MODERATOR", ""},
		"password=wrong&role=VIEWER": {"", "VIEWER", ""},
		"password=wrong":             {"", "", wrong},
		"password=wrong&role=x":      {"", "", wrong},
		"password=":                  {"", "", neither},
		"":                           {"", "", neither},
	} {
		bothProfiles(t, func(t *testing.T, profile Profile) {
			t.Helper()
			s := newSim(t, Config{Profile: profile})
			s.create("abc")
			w := s.get("join", "meetingID=abc&fullName=Jo&"+query)
			role := want.role30
			if profile == Profile24 {
				role = want.role24
			}
			users := s.meeting("abc").Users
			switch {
			case role != "":
				if len(users) != 1 || users[0].Role != role {
					t.Errorf("%q: users %+v, want a %s", query, users, role)
				}
			case profile == Profile24:
				wantErrorRedirect(t, w, home, "invalidPassword", neitherPW)
			default: // XML even though a redirect was asked for
				wantFailure(t, w, paramsRequired, want.text30)
			}
			if role == "" && len(users) != 0 {
				t.Errorf("%q: registered %+v", query, users)
			}
		})
	}
}

func TestJoinEqualPasswords(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{})
	s.get("create", "name=Name&meetingID=abc&attendeePW=same&moderatorPW=same")
	s.get("join", "meetingID=abc&fullName=Jo&password=same")
	if got := s.meeting("abc").Users[0].Role; got != "MODERATOR" {
		t.Errorf("role %s", got)
	}
}

func TestJoinCreateTime(t *testing.T) {
	t.Parallel()
	bothProfiles(t, func(t *testing.T, profile Profile) {
		t.Helper()
		const text = "The createTime parameter submitted mismatches with the current meeting."
		s := newSim(t, Config{Profile: profile})
		s.create("abc")
		s.join("abc", "createTime=1700000000000")
		query := "meetingID=abc&fullName=Jo&password=mp&createTime=1700000000001"
		wantErrorRedirect(t, s.get("join", query), home, "mismatchCreateTimeParam", text)
		w := s.get("join", query+"&redirect=false")
		if profile == Profile24 {
			wantErrorRedirect(t, w, home, "mismatchCreateTimeParam", text)
		} else {
			wantFailure(t, w, "mismatchCreateTimeParam", text)
		}
	})
}

func TestJoinErrorTargets(t *testing.T) {
	t.Parallel()
	bothProfiles(t, func(t *testing.T, profile Profile) {
		t.Helper()
		s := newSim(t, Config{Profile: profile})
		s.create("abc", "logoutURL=https%3A%2F%2Fmeeting.example")
		for query, want := range map[string][2]string{ // on 2.4, on 3.0
			"": {"https://bbb.example.com?errors=", "https://bbb.example.com?errors="},
			"logoutURL=https%3A%2F%2Flms.example%2Fa%3Fb%3Dc":                           {"https://lms.example/a?b=c&errors=[", "https://lms.example/a?b=c&errors=["},
			"logoutURL=https%3A%2F%2Flms.example&errorRedirectUrl=https%3A%2F%2Ferr%2F": {"https://lms.example?errors=[", "https://err/?errors=["},
			"logoutURL=not+a+uri": {"https://bbb.example.com?errors=", "https://bbb.example.com?errors="},
			"errorRedirectUrl=%7Bx%7D&logoutURL=https%3A%2F%2Flms.example": {"https://lms.example?errors=", "https://lms.example?errors="},
		} {
			prefix := want[1]
			if profile == Profile24 {
				prefix = want[0]
			}
			wantErrorRedirect(t, s.get("join", "meetingID=nope&fullName=Jo&password=mp&"+query), prefix, "meetingForciblyEnded", gone)
		}
	})
}

func TestJavaURI(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"https://a.example":                      "https://a.example?x=[%7B%22'%20%25%22:,]",
		"https://u@a.example:8080/p%20q/ü?b=%22": "https://u@a.example:8080/p%20q/ü?b=%22&x=[%7B%22'%20%25%22:,]",
		"https://a.example/?b=%26c#frag":         "https://a.example/?b=&c&x=[%7B%22'%20%25%22:,]#frag",
		"/relative":                              "/relative?x=[%7B%22'%20%25%22:,]",
		"https://a.example/a%2Fb+c":              "https://a.example/a/b+c?x=[%7B%22'%20%25%22:,]",
		"https://a.example?":                     "https://a.example?&x=[%7B%22'%20%25%22:,]",
		"mailto:a@b":                             "mailto:a@b?x=[%7B%22'%20%25%22:,]",
	} {
		u, ok := parseJavaURI(in)
		if !ok {
			t.Errorf("%s is refused", in)
			continue
		}
		if got := u.withQuery(`x=[{"' %":,]`); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	for _, in := range []string{"", "a b", "http://", "https://x/%zz", "%", "https://x/{y}", "a#b#c", "1http://x", "http:", "https://x/\u00a0", "https://x/[y]", "a|b"} {
		if _, ok := parseJavaURI(in); ok {
			t.Errorf("%q is accepted", in)
		}
	}
}

func TestMaxParticipants(t *testing.T) {
	t.Parallel()
	bothProfiles(t, func(t *testing.T, profile Profile) {
		t.Helper()
		const text = "The number of participants allowed for this meeting has been reached."
		s := newSim(t, Config{Profile: profile})
		s.create("abc", "maxParticipants=2")
		// Parallel joins pass: only users that have appeared count.
		s.join("abc", "userID=u1")
		s.join("abc", "userID=u2")
		s.join("abc", "userID=u2")
		s.clock.move(time.Second)
		query := "meetingID=abc&fullName=Jo&password=ap&userID="
		wantErrorRedirect(t, s.get("join", query+"u3"), home, "maxParticipantsReached", text)
		wantErrorRedirect(t, s.get("join", query), home, "maxParticipantsReached", text)
		if w := s.get("join", query+"u3&redirect=false"); profile == Profile30 {
			wantFailure(t, w, "maxParticipantsReached", text)
		} else {
			wantErrorRedirect(t, w, home, "maxParticipantsReached", text)
		}
		// One that is inside may come again, since 2.6.
		if w := s.get("join", query+"u1"); profile == Profile30 {
			if !strings.Contains(w.Header().Get("Location"), "sessionToken") {
				t.Errorf("u1: %s", w.Header().Get("Location"))
			}
		} else {
			wantErrorRedirect(t, w, home, "maxParticipantsReached", text)
		}
	})
	s := newSim(t, Config{})
	s.create("abc", "maxParticipants=-1")
	s.addUsers("abc", 5)
	s.join("abc", "") // no limit
}

func TestGuestPolicies(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ policy, query, want string }{
		{"ALWAYS_ACCEPT", "password=ap&guest=true", "ALLOW"},
		{"ALWAYS_DENY", "password=mp", "ALLOW"},
		{"ALWAYS_DENY", "password=ap", "DENY"},
		{"nonsense", "password=ap", "DENY"},
		{"ASK_MODERATOR", "password=mp&guest=true", "ALLOW"},
		{"ASK_MODERATOR", "password=ap", "WAIT"},
		{"ASK_MODERATOR", "password=ap&guest=true", "WAIT"},
		{"ASK_MODERATOR", "password=ap&guest=false", "ALLOW"},
		{"ASK_MODERATOR", "password=ap&guest=false&auth=true", "WAIT"},
		{"ALWAYS_ACCEPT_AUTH", "password=ap", "ALLOW"},
		{"ALWAYS_ACCEPT_AUTH", "password=ap&guest=true", "WAIT"},
	} {
		bothProfiles(t, func(t *testing.T, profile Profile) {
			t.Helper()
			s := newSim(t, Config{Profile: profile})
			s.create("abc", "guestPolicy="+test.policy, "logoutURL=https%3A%2F%2Flms.example%2Fout")
			query := "meetingID=abc&fullName=Jo&" + test.query
			w := s.get("join", query+"&redirect=false")
			users := s.meeting("abc").Users
			if len(users) != 1 || users[0].GuestStatus != test.want {
				t.Fatalf("%v: users %+v", test, users)
			}
			wantGuestAnswer(t, s, profile, test.want, query, w)
			s.clock.move(time.Minute)
			if got, want := s.meeting("abc").Participants > 0, test.want == "ALLOW"; got != want {
				t.Errorf("%v: present %v, want %v", test, got, want)
			}
		})
	}
}

func wantGuestAnswer(t *testing.T, s *sim, profile Profile, status, query string, w *httptest.ResponseRecorder) {
	t.Helper()
	redirected := s.get("join", query)
	location := redirected.Header().Get("Location")
	switch {
	case status == "DENY" && profile == Profile30:
		const text = "You have been denied access to this meeting based on the meeting's guest policy"
		wantFailure(t, w, "guestDeniedAccess", strings.ReplaceAll(text, "'", "&apos;"))
		wantErrorRedirect(t, redirected, home, "guestDeniedAccess", text)
	case status == "DENY":
		body := w.Body.String()
		if !strings.Contains(body, "<messageKey>guestDeny</messageKey>\n<message>Guest denied to join meeting.</message>") ||
			!strings.Contains(body, "<url>https://lms.example/out</url>") || location != "https://lms.example/out" {
			t.Errorf("%s, %s", body, location)
		}
	case status == "WAIT" && profile == Profile24:
		body := w.Body.String()
		if !strings.Contains(body, "<messageKey>guestWait</messageKey>\n<message>Guest waiting for approval to join meeting.</message>") ||
			!strings.Contains(body, "<guestStatus>WAIT</guestStatus>\n<url>https://bbb.example.com/html5client/guestWait?sessionToken=") ||
			!strings.HasPrefix(location, "https://bbb.example.com/html5client/guestWait?sessionToken=") {
			t.Errorf("%s, %s", body, location)
		}
	default:
		if !strings.Contains(w.Body.String(), "<guestStatus>"+status+"</guestStatus>") || !strings.Contains(location, "sessionToken=") {
			t.Errorf("%s, %s", w.Body, location)
		}
	}
}

func TestSessionsOfOneUser(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{})
	s.create("abc")
	for range 4 {
		s.join("abc", "userID=u1")
		s.clock.move(time.Second)
	}
	if n := s.meeting("abc").Participants; n != 3 {
		t.Errorf("%d sessions, want the newest 3", n)
	}
	if users := s.meeting("abc").Users; !users[0].Left || users[0].Presenter || !users[1].Presenter {
		t.Errorf("users %+v", users)
	}
}
