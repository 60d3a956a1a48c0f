package gateway

import (
	"bytes"
	"html/template"

	"github.com/bluegate/bluegate/internal/fault"
)

// pages are what people see when a join link does not lead into a room.
type pages struct {
	join      *template.Template
	languages *languages
}

const joinPage = `<!DOCTYPE html>
<html lang="{{.Language}}">
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
	Language, Title, Text, Hint, Key string
	Retry                            bool
}

func newPages() *pages {
	return &pages{
		join:      template.Must(template.New("join").Parse(joinPage)),
		languages: newLanguages(),
	}
}

// joinFailed renders the page for a failed join in words for the person who
// followed the link, in the language their browser asks for; the key is for
// whoever they ask for help.
func (p *pages) joinFailed(f *fault.Error, acceptLanguage string) []byte {
	texts := p.languages.choose(acceptLanguage)
	page := joinFailure{Language: texts.language, Key: f.Key}
	text := texts.badLink
	switch {
	case f.Kind == fault.Unavailable, f.Kind == fault.Internal:
		text, page.Retry = texts.moment, true
	case f.Key == "tenantSuspended":
		text = texts.suspended
	case f.Kind == fault.NotFound:
		text = texts.notOpen
	}
	page.Title, page.Text, page.Hint = text[0], text[1], text[2]
	if f.Kind == fault.Invalid {
		page.Text = f.Message // what exactly, in BBB's words
	}
	var b bytes.Buffer
	if err := p.join.Execute(&b, page); err != nil {
		return []byte(f.Message)
	}
	return b.Bytes()
}
