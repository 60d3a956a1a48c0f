package app_test

import (
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/app/apptest"
)

// TestEveryMetricIsDocumented holds docs/metrics.md to the metrics of a running
// app, with their types and labels.
func TestEveryMetricIsDocumented(t *testing.T) {
	e := apptest.Start(t, apptest.Options{})
	require.True(t, e.Tenant("acme").Create("c1").Answer(t).Success()) // a placement
	resp, err := http.Get(e.AdminURL(0) + "/metrics")
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)

	have := map[string]string{} // name: type and labels, as the page writes them
	labels := regexp.MustCompile(`(\w+)="`)
	kind, name := "", ""
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 4 && f[1] == "TYPE" {
			name, kind = f[2], f[3]
			continue
		}
		if !strings.HasPrefix(name, "bluegate_") || strings.HasPrefix(line, "#") {
			continue
		}
		var names []string
		for _, m := range labels.FindAllStringSubmatch(line, -1) {
			if m[1] != "le" {
				names = append(names, "`"+m[1]+"`")
			}
		}
		have[name] = kind + " | " + strings.Join(names, ", ")
	}

	page, err := os.ReadFile("../../docs/metrics.md")
	require.NoError(t, err)
	told := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(bluegate_\\w+)` \\| ([^|]*)\\| ([^|]*)\\|").FindAllStringSubmatch(string(page), -1) {
		told[row[1]] = strings.TrimSpace(row[2]) + " | " + strings.TrimSpace(row[3])
	}
	require.Equal(t, have, told)
}
