package bbbsim

import (
	"html/template"
	"net/http"
	"strings"
)

// clientPage is what a browser sees after a join: enough to tell where it is.
// html/template escapes what tenants and users chose.
var clientPage = template.Must(template.New("client").Parse(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Meeting}}</title>
<style>
body { font: 1.1rem/1.5 system-ui, sans-serif; margin: 0; background: #06172a; color: #fff; }
main { max-width: 40rem; margin: 15vh auto 0; padding: 0 1.5rem; }
p.note { color: #b9c7d6; font-size: .9rem; }
button { font: inherit; padding: .4rem 1.2rem; }
</style>
</head>
<body>
<main>
<h1>{{.Meeting}}</h1>
<p>You {{if .Waiting}}are waiting to be let into{{else}}are in{{end}} the meeting <strong>{{.Meeting}}</strong> as <strong>{{.User}}</strong> ({{.Role}}).</p>
<form method="post" action="` + clientRoot + `/leave?sessionToken={{.Token}}"><button>Leave the meeting</button></form>
<p class="note">This is a simulated BigBlueButton server{{with .Server}} ({{.}}){{end}}: there is no sound and no picture.</p>
</main>
</body>
</html>
`))

type clientView struct {
	Meeting, User, Role, Token, Server string
	Waiting                            bool
}

// serveClient serves the page behind a join, and its button to leave.
func (s *Server) serveClient(w http.ResponseWriter, r *http.Request, path string) {
	if r.Method == http.MethodPost && path == clientRoot+"/leave" {
		s.clientLeave(r).write(w, r)
		return
	}
	s.clientShow(r).write(w, r)
}

func (s *Server) clientShow(r *http.Request) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance()
	u := s.sessionOf(r.URL.Query())
	if u == nil {
		return page(http.StatusUnauthorized, "Session not found",
			"<h1>Session not found</h1>\n<p>The meeting has ended, or this link was never valid.</p>")
	}
	var b strings.Builder
	err := clientPage.Execute(&b, clientView{
		Meeting: u.meeting.name, User: u.name, Role: u.role(), Token: u.token, Server: s.cfg.Name,
		Waiting: u.guest == guestWait,
	})
	if err != nil {
		return errorPage()
	}
	return answer{status: http.StatusOK, contentType: htmlType, noCache: true, body: []byte(b.String())}
}

func (s *Server) clientLeave(r *http.Request) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.advance()
	if u := s.sessionOf(r.URL.Query()); u != nil {
		s.leave(u, now)
		s.plan(u.meeting)
	}
	return page(http.StatusOK, "You have left the meeting", "<h1>You have left the meeting</h1>")
}
