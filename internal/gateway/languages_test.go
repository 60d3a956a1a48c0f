package gateway

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/fault"
)

func TestLanguages(t *testing.T) {
	p := newPages()
	for accept, want := range map[string]string{
		"":                                 "en",
		"es-MX,es;q=0.9,en;q=0.8":          "es",
		"fr-CA":                            "fr",
		"nl,de-AT;q=0.7,en;q=0.3":          "de",
		"zz-not-a-language,,;;q=?":         "en",
		"ja":                               "en",
		"pt-BR,pt;q=0.9,fr;q=0.5,es;q=0.4": "fr",
	} {
		require.Equal(t, want, p.languages.choose(accept).language, accept)
	}
	for _, l := range p.languages.all {
		for name, text := range map[string][3]string{
			"moment": l.moment, "notOpen": l.notOpen, "badLink": l.badLink, "suspended": l.suspended,
		} {
			for _, part := range text {
				require.NotEmpty(t, part, "%s %s", l.language, name)
			}
		}
	}
	page := string(p.joinFailed(fault.New(fault.NotFound, "meetingForciblyEnded", "x"), "fr"))
	require.Contains(t, page, `<html lang="fr">`)
	require.Contains(t, page, "<h1>Cette salle n’est pas ouverte</h1>")
	require.Contains(t, page, "meetingForciblyEnded")
}
