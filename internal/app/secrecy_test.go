package app_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/app"
	"github.com/bluegate/bluegate/internal/app/apptest"
	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/bbbsim"
	"github.com/bluegate/bluegate/internal/store/pgtest"
	"github.com/bluegate/bluegate/internal/tenant"
)

// told collects what calls must leave no trace of: every signed URL's checksum,
// and whatever stands in its parameters for people and passwords.
type told struct {
	e       *apptest.Env
	secrets []string
	failed  []string // bodies of answers that are no SUCCESS
}

func (w *told) call(as apptest.Tenant, call string, params ...string) apptest.Result {
	return w.get(as.URL(call, params...), "")
}

func (w *told) get(target, accept string) apptest.Result {
	if u, err := url.Parse(target); err == nil {
		for name, values := range u.Query() {
			switch name {
			case "checksum", "fullName", "password", "attendeePW", "moderatorPW", "welcome", "userID", "name", "logoutURL":
				w.secrets = append(w.secrets, values...)
			}
		}
	}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, target, nil)
	if err != nil {
		panic(err)
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	r := w.e.Send(req)
	if location := r.Header.Get("Location"); location != "" {
		if u, err := url.Parse(location); err == nil {
			w.secrets = append(w.secrets, u.Query()["checksum"]...)
		}
	}
	if a, err := bbb.ParseAnswer([]byte(r.Body)); err == nil && a.Success() {
		for _, name := range []string{"attendeePW", "moderatorPW", "session_token", "auth_token"} {
			w.secrets = append(w.secrets, a.Text(name))
		}
	} else {
		w.failed = append(w.failed, r.Body)
	}
	return r
}

// class is a class from its opening to its end, with everything that LMSs get
// wrong in between.
func (w *told) class(t *testing.T, as apptest.Tenant, id string) {
	t.Helper()
	w.call(as, "create", "meetingID", id, "name", "Confidential "+id, "attendeePW", "attendee-pw-"+id, "moderatorPW", "moderator-pw-"+id,
		"welcome", "Welcome dear "+id, "logoutURL", "https://lms.example.org/logout-"+id, "record", "true")
	w.call(as, "create", "meetingID", id, "name", "Confidential "+id, "attendeePW", "wrong-attendee-pw", "moderatorPW", "wrong-moderator-pw")
	w.call(as, "create", "meetingID", id+"-generated", "name", "Passwords are made up "+id)
	w.call(as, "create", "meetingID", id+",", "name", "Refused "+id, "attendeePW", "refused-pw-"+id)
	for _, user := range []string{"Ada Lovelace", "Grace Hopper"} {
		full := user + " of " + id
		r := w.call(as, "join", "meetingID", id, "fullName", full, "password", "moderator-pw-"+id, "userID", "user-"+id)
		if location := r.Header.Get("Location"); r.Status == http.StatusFound {
			w.get(location, "text/html")
		}
		w.call(as, "join", "meetingID", id, "fullName", full, "password", "attendee-pw-"+id, "redirect", "false")
		w.get(as.URL("join", "meetingID", "none-"+id, "fullName", full, "password", "some-pw-"+id), "text/html")
		w.get(as.URL("join", "meetingID", "none-"+id, "fullName", full, "logoutURL", "https://lms.example.org/back-"+id), "text/html")
	}
	w.call(as, "getMeetingInfo", "meetingID", id, "password", "moderator-pw-"+id)
	w.call(as, "isMeetingRunning", "meetingID", id)
	w.call(as, "getMeetings")
	w.call(as, "getRecordings", "meetingID", id)
	bad := as
	bad.Secret = "a-wrong-secret-of-" + id
	w.secrets = append(w.secrets, bad.Secret)
	w.call(bad, "create", "meetingID", id, "name", "Forged "+id, "moderatorPW", "forged-pw-"+id)
	w.call(bad.Shared(), "join", "meetingID", id, "fullName", "Mallory of "+id, "password", "forged-pw-"+id)
	w.get(as.URL("join", "meetingID", id, "fullName", "%ff Latin of "+id)+"%ff", "text/html")
	w.get(as.Base+"api/end?meetingID="+id+"&password=end-pw-"+id+"&checksum="+strings.Repeat("c0ffee", 7), "")
	w.e.Do(http.MethodPost, as.URL("create", "meetingID", id+"-slides", "name", "Slides "+id), "text/xml",
		strings.NewReader(`<modules><module name="presentation"><document url="https://lms.example.org/slides-`+id+`.pdf"/></module></modules>`))
	w.secrets = append(w.secrets, "slides-"+id+".pdf")
	w.call(as, "end", "meetingID", id, "password", "attendee-pw-"+id)
}

// TestT35_NothingSecretIsToldAnywhere: after classes with everything that can go
// wrong, no secret, checksum, meeting password, user name or signed URL stands in
// the log (at debug level), in a metric or in the text of an error.
func TestT35_NothingSecretIsToldAnywhere(t *testing.T) {
	for _, format := range []string{"json", "text"} {
		t.Run(format, func(t *testing.T) {
			pg := pgtest.Start(t)
			e := apptest.Start(t, apptest.Options{
				Servers: 2, DatabaseURL: pg.URL(),
				Config: func(c *app.Config) {
					c.LogFormat = format
					c.CallTimeout, c.CreateTimeout, c.DownAfter = 500*time.Millisecond, 500*time.Millisecond, 2
				},
			})
			w := &told{e: e}
			acme, globex := e.Tenant("acme"), e.Tenant("globex")
			w.secrets = append(w.secrets, acme.Secret, globex.Secret, e.Config().EncryptionKey)
			for i := range e.Sims {
				w.secrets = append(w.secrets, fmt.Sprintf("server-secret-%d", i+1))
			}
			w.class(t, acme, "class-one")
			w.class(t, globex, "class-two")
			w.class(t, acme.Shared(), "class-three")
			for i, mode := range []bbbsim.Mode{bbbsim.ModeError, bbbsim.ModeCut, bbbsim.ModeRefuse, bbbsim.ModeHang, bbbsim.ModeDown} {
				if mode == bbbsim.ModeHang {
					continue // every call of a class would wait for its time-out; one is enough
				}
				for _, s := range e.Sims {
					s.SetFaults(bbbsim.Faults{Mode: mode})
				}
				w.class(t, acme, fmt.Sprint("faulty-", i))
			}
			for _, s := range e.Sims {
				s.SetFaults(bbbsim.Faults{Mode: bbbsim.ModeHang})
			}
			w.call(acme, "getMeetingInfo", "meetingID", "faulty-0")
			for _, s := range e.Sims {
				s.SetFaults(bbbsim.Faults{})
			}
			require.NoError(t, e.Store.SetTenantState(t.Context(), tenantID(t, e, "globex"), tenant.Suspended))
			leaked, err := e.Store.AddSecret(t.Context(), tenantID(t, e, "acme"), "", "rotated", nil)
			require.NoError(t, err)
			w.secrets = append(w.secrets, leaked.Value)
			pg.Stop()
			w.class(t, acme, "without-sql")
			w.class(t, globex, "without-sql-too")
			pg.Resume()
			apptest.Eventually(t, func() bool {
				return w.call(globex, "join", "meetingID", "x", "fullName", "Ada Lovelace again").Answer(t).Key() == "tenantSuspended"
			}, "the database is back")
			w.class(t, globex, "suspended")

			metrics := e.Do(http.MethodGet, e.AdminURL(0)+"/metrics", "", nil).Body
			log := e.Log.String()
			require.Greater(t, strings.Count(log, "\n"), 200)
			require.Contains(t, metrics, "bluegate_api_requests_total")
			places := map[string]string{"the log": log, "the metrics": metrics, "errors' texts": strings.Join(w.failed, "\n")}
			n := 0
			for _, secret := range w.secrets {
				if len(secret) < 5 {
					continue
				}
				n++
				for where, text := range places {
					for _, form := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret)} {
						if i := strings.Index(text, form); i >= 0 {
							t.Errorf("%s holds %q: %s", where, form, text[max(0, i-200):min(len(text), i+200)])
						}
					}
				}
			}
			require.Greater(t, n, 300, "the test has looked for something")
			for where, text := range places {
				require.NotContains(t, text, "checksum=", where)
				require.NotContains(t, text, "sessionToken=", where)
				require.NotContains(t, text, "bluegate-ref", where)
			}
		})
	}
}
