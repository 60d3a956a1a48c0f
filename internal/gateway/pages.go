package gateway

import (
	"bytes"
	"html/template"

	"github.com/bluegate/bluegate/internal/fault"
)

// pages are what people see when a join link does not lead into a room.
type pages struct {
	join *template.Template
}

const joinPage = `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
{{if .Retry}}<meta http-equiv="refresh" content="5">{{end}}
<title>{{.Title}}</title>
<style>
body { margin: 0; font: 1.125rem/1.5 system-ui, sans-serif; color: #16202c; background: #eef2f6 }
main { max-width: 32rem; margin: 15vh auto 0; padding: 2rem; background: #fff; border-radius: .5rem }
h1 { margin: 0 0 .75rem; font-size: 1.5rem; line-height: 1.25 }
p { margin: 0 0 .75rem }
small { color: #55616f }
@media (prefers-color-scheme: dark) {
body { color: #e7edf3; background: #10161d } main { background: #1b242e } small { color: #a5b1be }
}
</style>
</head>
<body>
<main>
<h1>{{.Title}}</h1>
<p>{{.Text}}</p>
<p>{{.Hint}}</p>
<small>{{.Key}}</small>
</main>
</body>
</html>
`

type joinFailure struct {
	Title, Text, Hint, Key string
	Retry                  bool
}

func newPages() *pages {
	return &pages{join: template.Must(template.New("join").Parse(joinPage))}
}

// joinFailed renders the page for a failed join in words for the person who
// followed the link; the key is for whoever they ask for help.
func (p *pages) joinFailed(f *fault.Error) []byte {
	page := joinFailure{Text: f.Message, Key: f.Key}
	switch {
	case f.Kind == fault.Unavailable, f.Kind == fault.Internal:
		page.Title = "One moment, please"
		page.Hint = "This page tries again by itself every few seconds."
		page.Retry = true
	case f.Key == "tenantSuspended":
		page.Title = "This room can't be opened"
		page.Text = "The account of your organisation is suspended: rooms that are open go on, new ones can't be opened."
		page.Hint = "Please tell the people who run your learning platform."
	case f.Kind == fault.NotFound:
		page.Title = "This room is not open"
		page.Text = "The meeting has ended or has not been opened yet."
		page.Hint = "Go back to your course and open the room from there."
	case f.Key == "checksumError":
		page.Title = "This link does not work"
		page.Text = "The link is not complete, or it was made with a secret that is no longer valid."
		page.Hint = "Go back to your course and follow the link from there. If that does not help, please tell the people who run your learning platform."
	default:
		page.Title = "This link does not work"
		page.Hint = "Go back to your course and follow the link from there."
	}
	var b bytes.Buffer
	if err := p.join.Execute(&b, page); err != nil {
		return []byte(f.Message)
	}
	return b.Bytes()
}
