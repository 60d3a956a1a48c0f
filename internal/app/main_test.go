package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/app"
	"github.com/bluegate/bluegate/internal/app/apptest"
	"github.com/bluegate/bluegate/internal/store/pgtest"
)

// childConfig names the variable that makes this test program a replica: it
// holds the replica's configuration.
const childConfig = "BLUEGATE_TEST_REPLICA"

// TestMain runs the tests or, as a child of one, a replica that can be killed.
func TestMain(m *testing.M) {
	if config := os.Getenv(childConfig); config != "" {
		if err := serveChild(config); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// childReady is what a child prints when it listens.
type childReady struct {
	URL, Admin string
}

// serveChild serves until its standard input ends: it never outlives the test.
func serveChild(config string) error {
	var c app.Config
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		return err
	}
	a, err := app.New(c, app.NewLogger(c, os.Stderr))
	if err != nil {
		return err
	}
	ctx := context.Background()
	if err := a.Start(ctx); err != nil {
		return err
	}
	defer a.Stop(ctx)
	ready := childReady{URL: "http://" + a.Addr().String(), Admin: "http://" + a.AdminAddr().String()}
	if err := json.NewEncoder(os.Stdout).Encode(ready); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// child is a replica in a process of its own.
type child struct {
	t    testing.TB
	cmd  *exec.Cmd
	log  *lockedBuffer
	kill func()
	childReady
}

// startChild starts a replica of the environment in another process and waits
// until it listens.
func startChild(t testing.TB, e *apptest.Env) *child {
	t.Helper()
	config, err := json.Marshal(e.Config())
	require.NoError(t, err)
	program, err := os.Executable()
	require.NoError(t, err)
	c := &child{t: t, cmd: exec.CommandContext(context.WithoutCancel(t.Context()), program), log: &lockedBuffer{}}
	c.cmd.Env = append(os.Environ(), childConfig+"="+string(config))
	c.cmd.Stderr = c.log
	stdin, err := c.cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := c.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.cmd.Start())
	c.kill = sync.OnceFunc(func() {
		_ = c.cmd.Process.Kill()
		_ = stdin.Close()
		_ = c.cmd.Wait() // it was killed: that is no failure
	})
	t.Cleanup(func() {
		c.kill()
		if t.Failed() {
			t.Logf("log of a replica:\n%s", c.log)
		}
	})
	require.NoError(t, json.NewDecoder(stdout).Decode(&c.childReady), "the replica does not start:\n%s", c.log)
	return c
}

// waitReady waits until the replica is ready.
func (c *child) waitReady(e *apptest.Env) {
	c.t.Helper()
	apptest.Eventually(c.t, func() bool { return e.Do("GET", c.Admin+"/readyz", "", nil).Status == 200 }, "the replica is ready")
}

// lockedBuffer is a buffer that is written by one goroutine and read by another.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// String is everything that was written so far.
func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// postgres is a database on the PostgreSQL server that the tests share.
func postgres(t testing.TB) string {
	t.Helper()
	return pgtest.URL(t)
}

// within is how long something may take that is done in one poll interval, on a
// machine that has other things to do.
func within(e *apptest.Env) time.Duration { return e.Config().PollInterval + 2*time.Second }
