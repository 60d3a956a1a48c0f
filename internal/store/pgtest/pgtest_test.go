package pgtest

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// frozenHelper, set in the environment, makes TestHelperFreezeAndWait do its
// work instead of nothing.
const frozenHelper = "PGTEST_FREEZE_AND_WAIT"

func TestMain(m *testing.M) {
	// The shared server must not cost other packages their leak checks.
	goleak.VerifyTestMain(m)
}

func query(t *testing.T, url, sql string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var answer string
	err = conn.QueryRow(ctx, sql).Scan(&answer)
	return answer, err
}

func mustQuery(t *testing.T, url, sql string) string {
	t.Helper()
	answer, err := query(t, url, sql)
	require.NoError(t, err)
	return answer
}

func mustExec(t *testing.T, url, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer func() { _ = conn.Close(t.Context()) }()
	_, err = conn.Exec(t.Context(), sql)
	require.NoError(t, err)
}

func TestURLGivesEachTestItsOwnEmptyDatabase(t *testing.T) {
	var first string
	t.Run("a test", func(t *testing.T) {
		first = URL(t)
		second := URL(t)
		mustExec(t, first, "CREATE TABLE x (id int)")
		require.Equal(t, "1", mustQuery(t, first, "SELECT count(*)::text FROM pg_tables WHERE tablename = 'x'"))
		require.Equal(t, "0", mustQuery(t, second, "SELECT count(*)::text FROM pg_tables WHERE tablename = 'x'"))

		// A connection left open keeps nothing from being cleaned up.
		left, err := pgx.Connect(t.Context(), first)
		require.NoError(t, err)
		t.Cleanup(func() { _ = left.Close(context.Background()) })
	})
	_, err := query(t, first, "SELECT '1'")
	require.ErrorContains(t, err, "does not exist", "the database outlived its test")
}

func TestURLInParallel(t *testing.T) {
	for range 8 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			require.Equal(t, "1", mustQuery(t, URL(t), "SELECT '1'"))
		})
	}
}

func TestStopAndResume(t *testing.T) {
	s := Start(t)
	url := s.URL()
	mustExec(t, url, "CREATE TABLE kept AS SELECT 'still here'::text AS v")
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)

	s.Stop()
	require.Error(t, conn.Ping(t.Context()), "an open connection must be cut")
	_, err = query(t, url, "SELECT '1'")
	require.ErrorIs(t, err, syscall.ECONNREFUSED)

	s.Resume()
	require.Equal(t, "still here", mustQuery(t, url, "SELECT v FROM kept"))
	require.Equal(t, "1", mustQuery(t, s.URL(), "SELECT '1'"), "a fresh database after Resume")
}

func TestFreezeAndThaw(t *testing.T) {
	s := Start(t)
	url := s.URL()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()

	s.Freeze()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = pgx.Connect(ctx, url)
	require.ErrorIs(t, err, context.DeadlineExceeded, "a new connection must hang, not be refused")
	answered := make(chan error, 1)
	go func() { answered <- conn.Ping(context.Background()) }()
	select {
	case err := <-answered:
		t.Fatalf("a frozen server answered: %v", err)
	case <-time.After(200 * time.Millisecond):
	}

	s.Thaw()
	select {
	case err := <-answered:
		require.NoError(t, err, "an open connection must survive the freeze")
	case <-time.After(10 * time.Second):
		t.Fatal("the server stayed frozen")
	}
	require.Equal(t, "1", mustQuery(t, url, "SELECT '1'"))
}

func TestStopOfAFrozenServerDoesNothingMore(t *testing.T) {
	s := Start(t)
	url := s.URL()
	mustExec(t, url, "CREATE TABLE x (id int)")
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	s.Freeze()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = conn.Exec(ctx, "INSERT INTO x VALUES (1)")
	require.Error(t, err)
	s.Stop()
	s.Resume()
	require.Equal(t, "0", mustQuery(t, url, "SELECT count(*)::text FROM x"))
}

func TestServerIsGoneAfterItsTest(t *testing.T) {
	var s *Server
	var pid int
	t.Run("a test", func(t *testing.T) {
		s = Start(t)
		var err error
		pid, err = s.s.postmaster()
		require.NoError(t, err)
	})
	require.NoDirExists(t, s.s.dir)
	requireGone(t, pid)
}

// TestServerDiesWithAKilledTestProcess kills a test process whose server is
// frozen, the worst case: nobody is left to clean up and nothing answers.
func TestServerDiesWithAKilledTestProcess(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestHelperFreezeAndWait$", "-test.v")
	cmd.Env = append(os.Environ(), frozenHelper+"=1")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var dir string
	var pids []int
	for lines := bufio.NewScanner(out); len(pids) == 0 && lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "frozen: "); ok {
			fields := strings.Fields(rest)
			dir = fields[0]
			for _, field := range fields[1:] {
				pid, err := strconv.Atoi(field)
				require.NoError(t, err)
				pids = append(pids, pid)
			}
		}
	}
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	require.Greater(t, len(pids), 1, "the helper process did not report the server's processes")
	for _, pid := range pids {
		requireGone(t, pid)
	}
	require.Eventually(t, func() bool {
		_, err := os.Stat(dir)
		return errors.Is(err, os.ErrNotExist)
	}, 20*time.Second, 20*time.Millisecond, "the directory stayed behind")
}

// TestHelperFreezeAndWait is the process that
// TestServerDiesWithAKilledTestProcess kills; on its own it does nothing.
func TestHelperFreezeAndWait(t *testing.T) {
	if os.Getenv(frozenHelper) == "" {
		return
	}
	s := Start(t)
	s.Freeze()
	list, err := os.ReadFile(s.s.frozenList())
	require.NoError(t, err)
	_, err = os.Stdout.WriteString("frozen: " + s.s.dir + " " + strings.Join(strings.Fields(string(list)), " ") + "\n")
	require.NoError(t, err)
	time.Sleep(time.Minute)
}

func requireGone(t *testing.T, pid int) {
	t.Helper()
	require.Eventually(t, func() bool {
		// An ended process that nobody has waited for yet counts as gone.
		stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
		return err != nil || strings.Contains(string(stat), ") Z ")
	}, 20*time.Second, 20*time.Millisecond, "process %d is still there", pid)
}
