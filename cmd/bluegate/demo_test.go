package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/bbb"
)

// startDemo starts the program and returns its standard output.
func startDemo(t *testing.T, args ...string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	args = append([]string{"demo", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"}, args...)
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), asProgram+"=1", "TMPDIR="+t.TempDir())
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd, bufio.NewReader(out)
}

// TestDemoJSON is the demo as scripts use it: one line, then a gateway that works.
func TestDemoJSON(t *testing.T) {
	cmd, out := startDemo(t, "--json", "--servers", "2")
	line, err := out.ReadString('\n')
	require.NoError(t, err)
	var d demoReady
	dec := json.NewDecoder(strings.NewReader(line))
	dec.DisallowUnknownFields()
	require.NoError(t, dec.Decode(&d))
	require.Len(t, d.Tenants, 2)
	require.Len(t, d.Servers, 2)
	require.Contains(t, line, `"admin_token":""`)
	for _, s := range d.Servers {
		require.True(t, strings.HasSuffix(s.ControlURL, "/_sim/"), s.ControlURL)
		require.True(t, strings.HasSuffix(s.URL, "/bigbluebutton/"), s.URL)
	}
	for _, tenant := range d.Tenants {
		for _, base := range []string{tenant.URL, tenant.SharedURL} {
			require.True(t, strings.HasPrefix(base, d.Gateway) && strings.HasSuffix(base, "/bigbluebutton/"), base)
			create := bbb.Call{Name: "create"}.With("meetingID", "1").With("name", tenant.Slug)
			answer, err := bbb.ParseAnswer(fetch(t, bbb.URL(base, create, bbb.SHA256, tenant.Secret)))
			require.NoError(t, err)
			require.True(t, answer.Success())
		}
	}
	require.Contains(t, string(fetch(t, d.Admin+"/metrics")), "bluegate_placements_total")

	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	rest, err := io.ReadAll(out)
	require.NoError(t, err)
	require.Empty(t, rest, "with --json nothing else is printed")
	require.NoError(t, cmd.Wait())
	left, err := os.ReadDir(strings.TrimPrefix(cmd.Env[len(cmd.Env)-1], "TMPDIR="))
	require.NoError(t, err)
	require.Empty(t, left, "nothing of a demo is left")
}

// TestDemoText follows what a demo prints as a newcomer does.
func TestDemoText(t *testing.T) {
	_, out := startDemo(t)
	var text bytes.Buffer
	for !strings.Contains(text.String(), "Ctrl-C") {
		line, err := out.ReadString('\n')
		require.NoError(t, err, text.String())
		text.WriteString(line)
	}
	var curl, join string
	for line := range strings.Lines(text.String()) {
		line = strings.TrimSpace(line)
		if quoted, ok := strings.CutPrefix(line, "curl 'http"); ok {
			curl = "http" + strings.TrimSuffix(quoted, "'")
		}
		if strings.Contains(line, "/api/join?") {
			join = line
		}
	}
	require.Contains(t, string(fetch(t, curl)), "<returncode>SUCCESS</returncode>")
	require.Contains(t, string(fetch(t, join)), "You are in the meeting")
}

func fetch(t *testing.T, url string) []byte {
	t.Helper()
	jar := &http.Client{Timeout: 10 * time.Second}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	resp, err := jar.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return body
}
