// Package pgtest gives tests real PostgreSQL servers: private ones, started
// from the binaries of the machine, that die with the test process.
//
// A test that only needs a database calls [URL]; all such tests of a process
// share one server. A test that stops, restarts or freezes the server calls
// [Start] and gets a server of its own.
package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	superuser = "test"

	// startTries is how often another port is tried when one turns out to be
	// taken between looking and starting.
	startTries = 5

	// stopTimeout is how long the server may take to stop at once before it
	// is killed.
	stopTimeout = 10 * time.Second

	// adminTimeout bounds a CREATE or DROP DATABASE on a busy machine.
	adminTimeout = time.Minute

	// settings trade durability, which no test needs, for speed. The
	// connection limit is generous because tests run in parallel on one
	// server, each with pools of its own.
	settings = `
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = off
full_page_writes = off
shared_buffers = 16MB
max_connections = 300
autovacuum = off
jit = off
`
)

// undertaker waits for the end of its standard input, that is of the test
// process however it ends, then stops the server (even a frozen one) and
// removes its directory. It is a process of its own because nothing inside
// the test process survives a SIGKILL or os.Exit, and because PDEATHSIG is
// tied to the thread, not the process, that started the server.
const undertaker = `
read -r _
cd "$1" || exit 0
pid=$(head -n 1 data/postmaster.pid 2>/dev/null)
if [ -n "$pid" ] && [ "$(readlink "/proc/$pid/cwd")" = "$(pwd -P)/data" ]; then
	kill -QUIT "$pid"
	kill -CONT "$pid" $(cat frozen 2>/dev/null)
	n=0
	while [ -e data/postmaster.pid ] && [ $n -lt 50 ]; do
		sleep 0.1
		n=$((n + 1))
	done
	[ -e data/postmaster.pid ] && kill -KILL "$pid"
fi
cd /
rm -rf "$1"
`

// shared is the server behind URL.
var shared = sync.OnceValues(start)

// URL returns the URL of a fresh, empty database on the server that the tests
// of this process share. The database is dropped when the test ends, whatever
// is still connected to it.
func URL(t testing.TB) string {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	name, err := s.createDatabase()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.admin("DROP DATABASE IF EXISTS " + name + " WITH (FORCE)"); err != nil {
			t.Errorf("drop the test's database: %v", err)
		}
	})
	return s.url(name)
}

// Server is a PostgreSQL server that belongs to one test. Its methods fail
// that test when they cannot do their work. They must not be called
// concurrently, URL excepted.
type Server struct {
	t testing.TB
	s *server
}

// Start starts a server for this test alone; it is gone when the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	s, err := start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("end of the PostgreSQL log:\n%s", s.logTail())
		}
		if err := s.bury(); err != nil {
			t.Errorf("clean up after PostgreSQL: %v", err)
		}
	})
	return &Server{t: t, s: s}
}

// URL returns the URL of a fresh, empty database on this server. It stays
// valid over Stop and Resume.
func (s *Server) URL() string {
	s.t.Helper()
	name, err := s.s.createDatabase()
	if err != nil {
		s.t.Fatal(err)
	}
	return s.s.url(name)
}

// Stop ends the server at once, as a crash would: what was committed stays,
// open connections are cut, new ones are refused.
func (s *Server) Stop() {
	s.t.Helper()
	if err := s.s.stop(); err != nil {
		s.t.Fatal(err)
	}
}

// Resume starts a stopped server again, on the same port and data.
func (s *Server) Resume() {
	s.t.Helper()
	if err := s.s.launch(); err != nil {
		s.t.Fatal(err)
	}
}

// Freeze makes the server hang: connections can still be opened, but nothing
// is answered until Thaw.
func (s *Server) Freeze() {
	s.t.Helper()
	if err := s.s.freeze(); err != nil {
		s.t.Fatal(err)
	}
}

// Thaw lets a frozen server go on where it stood.
func (s *Server) Thaw() {
	s.t.Helper()
	if err := s.s.wake(syscall.SIGCONT); err != nil {
		s.t.Fatal(err)
	}
}

// server is a PostgreSQL server and the directory it lives in.
type server struct {
	bin  string // directory of the PostgreSQL binaries
	dir  string // holds data/, log and, while frozen, the list of frozen processes
	cred *syscall.Credential
	port int

	alive      *os.File // closing it calls the undertaker
	undertaker *exec.Cmd
	databases  atomic.Int64
}

func start() (_ *server, err error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	cred, err := unprivileged()
	if err != nil {
		return nil, err
	}
	// Not t.TempDir: its parent is closed to the user the server runs as.
	dir, err := os.MkdirTemp("", "pgtest-")
	if err != nil {
		return nil, err
	}
	s := &server{bin: bin, dir: dir, cred: cred}
	if err := s.engageUndertaker(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.bury())
		}
	}()
	if cred != nil {
		if err := os.Chown(dir, int(cred.Uid), int(cred.Gid)); err != nil {
			return nil, err
		}
	}
	err = s.run("initdb", "--pgdata="+s.data(), "--username="+superuser, "--auth=trust",
		"--encoding=UTF8", "--no-locale", "--no-sync")
	if err != nil {
		return nil, err
	}
	if err := s.configure(); err != nil {
		return nil, err
	}
	for range startTries {
		if s.port, err = freePort(); err != nil {
			return nil, err
		}
		if err = s.launch(); err == nil {
			return s, nil
		}
	}
	return nil, err
}

func (s *server) data() string { return filepath.Join(s.dir, "data") }

func (s *server) configure() error {
	f, err := os.OpenFile(filepath.Join(s.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(settings)
	return errors.Join(err, f.Close())
}

// launch starts the server and returns when it answers. pg_ctl puts it into a
// session of its own, where no Ctrl-C meant for the tests reaches it.
func (s *server) launch() error {
	err := s.run("pg_ctl", "start", "--wait", "--silent", "--timeout=60", "--pgdata="+s.data(),
		"--log="+filepath.Join(s.dir, "log"), "--options=-p "+strconv.Itoa(s.port))
	if err != nil {
		return fmt.Errorf("%w\nend of its log:\n%s", err, s.logTail())
	}
	return nil
}

func (s *server) stop() error {
	pid, err := s.postmaster()
	if err != nil {
		return err
	}
	if err := signalAll(syscall.SIGQUIT, pid); err != nil {
		return err
	}
	// Every frozen process is to find the signal when it wakes, lest it do
	// what it was asked meanwhile.
	if err := s.wake(syscall.SIGQUIT, syscall.SIGCONT); err != nil {
		return err
	}
	// The file goes when all processes have ended and the port is closed.
	for deadline := time.Now().Add(stopTimeout); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if _, err := s.postmaster(); errors.Is(err, os.ErrNotExist) {
			return nil
		}
	}
	return errors.Join(errors.New("PostgreSQL does not stop; killed it"), signalAll(syscall.SIGKILL, pid))
}

func (s *server) freeze() error {
	pid, err := s.postmaster()
	if err != nil {
		return err
	}
	// The postmaster first: from then on no process is added.
	if err := signalAll(syscall.SIGSTOP, pid); err != nil {
		return err
	}
	pids, err := children(pid)
	if err != nil {
		return err
	}
	var list bytes.Buffer
	for _, p := range append(pids, pid) {
		fmt.Fprintln(&list, p)
	}
	// Written before the rest is frozen: the undertaker needs it.
	if err := os.WriteFile(s.frozenList(), list.Bytes(), 0o600); err != nil {
		return err
	}
	return signalAll(syscall.SIGSTOP, pids...)
}

// wake sends the signals, one after the other, to all processes that freeze
// stopped. It does nothing on a server that isn't frozen.
func (s *server) wake(signals ...syscall.Signal) error {
	list, err := os.ReadFile(s.frozenList())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var pids []int
	for field := range strings.FieldsSeq(string(list)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			return fmt.Errorf("list of frozen processes: %w", err)
		}
		pids = append(pids, pid)
	}
	for _, sig := range signals {
		if err := signalAll(sig, pids...); err != nil {
			return err
		}
	}
	return os.Remove(s.frozenList())
}

func (s *server) frozenList() string { return filepath.Join(s.dir, "frozen") }

// postmaster returns the process ID of the running server, or
// [os.ErrNotExist] if it is stopped.
func (s *server) postmaster() (int, error) {
	content, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(content), "\n")
	return strconv.Atoi(line)
}

func (s *server) createDatabase() (string, error) {
	name := "test_" + strconv.FormatInt(s.databases.Add(1), 10)
	return name, s.admin("CREATE DATABASE " + name)
}

func (s *server) admin(statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), adminTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.url("postgres"))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(ctx))
}

func (s *server) url(database string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.User(superuser),
		Host:     net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)),
		Path:     database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// logTail returns the end of the server's log, for messages.
func (s *server) logTail() string {
	const most = 4096
	log, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(log[max(0, len(log)-most):])
}

// run runs one of PostgreSQL's programs to its end, as the server's user and
// without the PG* variables of whoever runs the tests.
func (s *server) run(program string, args ...string) error {
	cmd := exec.CommandContext(context.Background(), filepath.Join(s.bin, program), args...)
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred}
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", program, err, output)
	}
	return nil
}

func (s *server) engageUndertaker() error {
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(context.Background(), "/bin/sh", "-c", undertaker, "undertaker", s.dir)
	cmd.Stdin = read
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return errors.Join(err, read.Close(), write.Close())
	}
	s.alive, s.undertaker = write, cmd
	return read.Close()
}

// bury ends the server and removes all it wrote.
func (s *server) bury() error {
	return errors.Join(s.alive.Close(), s.undertaker.Wait())
}

// binaries returns the directory that holds PostgreSQL's server programs, of
// the newest version found.
func binaries() (string, error) {
	// Debian keeps them off the PATH, one directory per major version.
	candidates, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		return "", err
	}
	newest, version := "", -1
	for _, dir := range candidates {
		v, err := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
		if err == nil && v > version && complete(dir) {
			newest, version = dir, v
		}
	}
	if newest != "" {
		return newest, nil
	}
	if path, err := exec.LookPath("pg_ctl"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil && complete(filepath.Dir(path)) {
			return filepath.Dir(path), nil
		}
	}
	return "", errors.New("these tests need the PostgreSQL server programs; install them with: " +
		"sudo apt-get install -y --no-install-recommends postgresql")
}

func complete(dir string) bool {
	for _, program := range []string{"initdb", "pg_ctl", "postgres"} {
		if _, err := exec.LookPath(filepath.Join(dir, program)); err != nil {
			return false
		}
	}
	return true
}

// unprivileged returns the identity the server runs under when the tests run
// as root, which PostgreSQL refuses to; else nil.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // no credential means "as ourselves", as in SysProcAttr
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			return nil, err
		}
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// freePort finds a port below those the kernel hands out for outgoing
// connections. Among those a client that knocks at a stopped server could be
// given the server's own port, connect to itself and keep Resume out.
func freePort() (int, error) {
	const lowest, highest, tries = 12000, 32000, 100
	var (
		listen net.ListenConfig
		err    error
	)
	for range tries {
		port := lowest + rand.IntN(highest-lowest)
		var l net.Listener
		l, err = listen.Listen(context.Background(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("no free port: %w", err)
}

// signalAll sends a signal to each process; those already gone are skipped.
func signalAll(sig syscall.Signal, pids ...int) error {
	for _, pid := range pids {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("signal %v to process %d: %w", sig, pid, err)
		}
	}
	return nil
}

// children returns the processes whose parent is pid.
func children(pid int) ([]int, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, file := range files {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // ended since
		}
		// "pid (name) state ppid ...", where the name may hold anything.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) < 2 || string(fields[1]) != strconv.Itoa(pid) {
			continue
		}
		child, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			return nil, err
		}
		pids = append(pids, child)
	}
	return pids, nil
}
