package bbb

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const serverSecret = "the-server-secret"

func aCall() Call {
	return Call{Name: "create", Query: "meetingID=room-1&name=Ana+Gil&attendeePW=hush"}
}

// newClient returns a client that is closed with the test.
func newClient(t *testing.T, o ClientOptions) *Client {
	t.Helper()
	c := NewClient(o)
	t.Cleanup(c.Close)
	return c
}

// get sends the call to the server at base with the time that is left.
func get(t *testing.T, c *Client, base string, limit time.Duration) (Response, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	return c.Do(ctx, Request{Base: base, Call: aCall(), Algorithm: SHA256, Secret: serverSecret})
}

// failure asserts what every error of Do keeps: it is a CallError, and tells
// nothing of what was signed.
func failure(t *testing.T, err error) *CallError {
	t.Helper()
	var e *CallError
	require.ErrorAs(t, err, &e)
	for _, leak := range []string{"checksum", "room-1", "Ana", "hush", serverSecret, "api/create"} {
		require.NotContains(t, err.Error(), leak)
		for cause := err; cause != nil; cause = errors.Unwrap(cause) {
			require.NotContains(t, fmt.Sprintf("%v %+v", cause, cause), leak)
		}
	}
	return e
}

// rawServer answers every connection by hand; it gets the request it read.
func rawServer(t *testing.T, handle func(conn net.Conn, r *http.Request)) (base string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				r, err := http.ReadRequest(bufio.NewReader(conn))
				if err == nil {
					handle(conn, r)
				}
			}()
		}
	}()
	return "http://" + l.Addr().String() + "/bigbluebutton/"
}

func TestCallReachesTheServer(t *testing.T) {
	var got *http.Request
	var body []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		w.Header().Set("Content-Type", ContentType)
		w.Header().Set("Set-Cookie", "JSESSIONID=x")
		w.Write([]byte(created))
	}))
	defer server.Close()
	c := newClient(t, ClientOptions{})
	base := server.URL + "/bigbluebutton/"

	resp, err := get(t, c, base, time.Minute)
	require.NoError(t, err)
	require.Equal(t, http.MethodGet, got.Method)
	require.Equal(t, "/bigbluebutton/api/create", got.URL.Path)
	require.True(t, referenceAccepts("create", got.URL.RawQuery, serverSecret))
	require.True(t, strings.HasPrefix(got.URL.RawQuery, aCall().Query+"&checksum="), "byte for byte")
	require.Equal(t, "Bluegate", got.UserAgent())
	require.Empty(t, got.Header.Get("Accept-Encoding"), "answers are spliced, so they must not be compressed")
	require.Equal(t, http.StatusOK, resp.Status)
	require.Equal(t, created, string(resp.Body))
	require.True(t, resp.Answer.Success())
	require.Equal(t, "JSESSIONID=x", resp.Header.Get("Set-Cookie"))

	const xml = "<modules/>"
	_, err = c.Do(t.Context(), Request{
		Base: base, Call: aCall(), Algorithm: SHA1, Secret: serverSecret,
		Body: strings.NewReader(xml), BodySize: int64(len(xml)), ContentType: "application/xml",
	})
	require.NoError(t, err)
	require.Equal(t, http.MethodPost, got.Method)
	require.Equal(t, "application/xml", got.Header.Get("Content-Type"))
	require.Equal(t, int64(len(xml)), got.ContentLength)
	require.Equal(t, xml, string(body))
	require.Equal(t, base+"api/create?"+aCall().Sign(SHA1, serverSecret), URL(base, aCall(), SHA1, serverSecret))
}

// An answer is XML with a returncode and a 2xx; anything else is a response
// without one, never an error.
func TestWhatIsAnAnswer(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		body   string
		want   bool
	}{
		"SUCCESS":          {200, created, true},
		"FAILED":           {200, string(Failed("idNotUnique", "x")), true},
		"202":              {202, created, true},
		"500 with XML":     {500, created, false},
		"404 with XML":     {404, created, false},
		"302 with XML":     {302, created, false},
		"empty":            {200, "", false},
		"HTML":             {200, "<!doctype html><html></html>", false},
		"JSON":             {200, `{"response":{"returncode":"SUCCESS"}}`, false},
		"other returncode": {200, "<response><returncode>MAYBE</returncode></response>", false},
		"no returncode":    {200, "<response></response>", false},
		"two documents":    {200, string(Failed("apiNotEnabled", "x")) + created, false},
		"cut XML":          {200, created[:len(created)-3], false},
		"gateway error":    {502, "<html><body>Bad Gateway</body></html>", false},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(tc.status)
			io.WriteString(w, tc.body)
		}))
		resp, err := get(t, newClient(t, ClientOptions{}), server.URL+"/bigbluebutton/", time.Minute)
		require.NoError(t, err, name)
		require.Equal(t, tc.status, resp.Status, name)
		require.Equal(t, tc.body, string(resp.Body), name)
		require.Equal(t, tc.want, resp.Answer != nil, name)
		server.Close()
	}
}

// A redirect is an answer: following it would tell another host the signed query.
func TestRedirectsAreNotFollowed(t *testing.T) {
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	for _, location := range []string{other.URL + "/x?sessionToken=abc", "/bigbluebutton/api/create", "http://[::1", "%zz", ""} {
		for _, status := range []int{301, 302, 303, 307, 308} {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Location"] = []string{location}
				w.WriteHeader(status)
			}))
			resp, err := get(t, newClient(t, ClientOptions{}), server.URL+"/bigbluebutton/", time.Minute)
			require.NoError(t, err, location)
			require.Equal(t, status, resp.Status)
			require.Equal(t, location, resp.Header.Get("Location"))
			server.Close()
		}
	}
	require.Zero(t, elsewhere.Load())
}

// No connection: the call has had no effect.
func TestNotSent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	closed := l.Addr().String()
	l.Close()
	c := newClient(t, ClientOptions{})

	_, err = get(t, c, "http://"+closed+"/bigbluebutton/", time.Minute)
	require.False(t, failure(t, err).Sent)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)

	_, err = get(t, c, "http://no-such-host.invalid/bigbluebutton/", time.Minute)
	require.False(t, failure(t, err).Sent)

	for _, base := range []string{"http://[::1/", "ftp://127.0.0.1/", "://", "http:///bigbluebutton/", "", "http://127.0.0.1:99999/", "http://a b/"} {
		_, err = get(t, c, base, time.Minute)
		require.False(t, failure(t, err).Sent, base)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.Do(ctx, Request{Base: "http://" + closed + "/", Call: aCall(), Algorithm: SHA1, Secret: serverSecret})
	require.False(t, failure(t, err).Sent)
	require.ErrorIs(t, err, context.Canceled)

	// A TCP connection without the handshake of TLS.
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	began := time.Now()
	impatient := newClient(t, ClientOptions{ConnectTimeout: 50 * time.Millisecond})
	_, err = get(t, impatient, "https://"+silent.Addr().String()+"/bigbluebutton/", time.Minute)
	require.False(t, failure(t, err).Sent)
	require.Less(t, time.Since(began), 30*time.Second)

	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	_, err = get(t, c, strings.Replace(plain.URL, "http:", "https:", 1)+"/", time.Minute)
	require.False(t, failure(t, err).Sent)

	strange := httptest.NewUnstartedServer(http.NotFoundHandler())
	strange.Config.ErrorLog = log.New(io.Discard, "", 0)
	strange.StartTLS()
	defer strange.Close()
	_, err = get(t, c, strange.URL+"/", time.Minute)
	require.False(t, failure(t, err).Sent)
	require.ErrorContains(t, err, "certificate")
}

// A server that has the call may have acted on it, however it fails then.
func TestSentButNotAnswered(t *testing.T) {
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	for name, tc := range map[string]struct {
		answer string
		stay   bool
	}{
		"hangs":                      {"", true},
		"closes":                     {"", false},
		"hangs in the head":          {"HTTP/1.1 200 OK\r\nContent-Le", true},
		"hangs in the body":          {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n<response>", true},
		"cut in the body":            {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n<response>", false},
		"cut in the head":            {"HTTP/1.1 200 OK\r\nContent-", false},
		"cut in a chunk":             {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n<response>", false},
		"no HTTP":                    {"SSH-2.0-OpenSSH_9.2\r\n", false},
		"echoes the request":         {"ECHO", false},
		"echoes it in a header":      {"HTTP/1.1 200 OK\r\nECHO\r\n\r\n", false},
		"echoes it as a length":      {"HTTP/1.1 200 OK\r\nContent-Length: ECHO\r\n\r\n", false},
		"echoes it as an encoding":   {"HTTP/1.1 200 OK\r\nTransfer-Encoding: ECHO\r\n\r\n", false},
		"echoes it as a chunk":       {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nECHO\r\n", false},
		"echoes it in a trailer":     {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nECHO\r\n\r\n", false},
		"echoes it as a status":      {"HTTP/1.1 ECHO\r\n\r\n", false},
		"bad status":                 {"HTTP/1.1 999999 x\r\n\r\n", false},
		"two lengths":                {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", false},
		"an endless head":            {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 100<<10) + "\r\n\r\n", false},
		"longer than allowed":        {"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + strings.Repeat("x", 2000), false},
		"longer, without a length":   {"HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("x", 2000), false},
		"endless":                    {"HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("x", 2000), true},
		"a length beyond all bounds": {"HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limit := time.Minute
			if tc.stay {
				limit = time.Second
			}
			base := rawServer(t, func(conn net.Conn, r *http.Request) {
				io.WriteString(conn, strings.ReplaceAll(tc.answer, "ECHO", "GET "+r.RequestURI+" Ana Gil"))
				if tc.stay {
					<-hang
				}
			})
			began := time.Now()
			_, err := get(t, newClient(t, ClientOptions{MaxAnswer: 1000}), base, limit)
			e := failure(t, err)
			require.True(t, e.Sent)
			require.Less(t, time.Since(began), 30*time.Second)
			if strings.HasPrefix(name, "a length") {
				require.ErrorContains(t, err, "more than 1000 bytes", "there is no waiting for what won't fit")
			}
			if strings.HasPrefix(name, "hangs") {
				require.ErrorIs(t, err, context.DeadlineExceeded)
			}
		})
	}
}

// A server that promises much and sends little gets no memory for it.
func TestPromisedLengthIsNotBelieved(t *testing.T) {
	base := rawServer(t, func(conn net.Conn, _ *http.Request) {
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n<response>")
	})
	c := newClient(t, ClientOptions{})
	_, err := get(t, c, base, time.Minute)
	require.True(t, failure(t, err).Sent)
	result := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, err := c.Do(b.Context(), Request{Base: base, Call: aCall(), Algorithm: SHA1, Secret: serverSecret})
			if err == nil {
				b.Fatal("no error")
			}
		}
	})
	require.Less(t, result.AllocedBytesPerOp(), int64(4<<20))
}

func TestLargeAnswer(t *testing.T) {
	var rooms []string
	for i := range 300 {
		rooms = append(rooms, meetingXML(fmt.Sprint("room-", i), 10, ""))
	}
	body := listing(rooms...)
	for _, chunked := range []bool{false, true} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if chunked {
				w.(http.Flusher).Flush()
			}
			w.Write(body)
		}))
		resp, err := get(t, newClient(t, ClientOptions{MaxAnswer: int64(len(body))}), server.URL+"/", time.Minute)
		require.NoError(t, err)
		require.Equal(t, len(body), len(resp.Body))
		require.True(t, resp.Answer.Success())
		_, err = get(t, newClient(t, ClientOptions{MaxAnswer: int64(len(body)) - 1}), server.URL+"/", time.Minute)
		require.True(t, failure(t, err).Sent)
		server.Close()
	}
}

func TestConnectionsAreUsedAgain(t *testing.T) {
	var conns atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(NoMeetings()) }))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	c := newClient(t, ClientOptions{})
	for range 20 {
		_, err := get(t, c, server.URL+"/", time.Minute)
		require.NoError(t, err)
	}
	require.Equal(t, int32(1), conns.Load())
}

// One slow server has at most so many connections; who waits for one in vain
// has sent nothing, and other servers don't notice.
func TestConnectionsAreBounded(t *testing.T) {
	arrived, hang := make(chan struct{}, 10), make(chan struct{})
	slow := rawServer(t, func(net.Conn, *http.Request) { arrived <- struct{}{}; <-hang })
	fast := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(NoMeetings()) }))
	defer fast.Close()
	c := newClient(t, ClientOptions{MaxConnsPerServer: 2})
	ctx, cancel := context.WithCancel(t.Context())
	out := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := c.Do(ctx, Request{Base: slow, Call: aCall(), Algorithm: SHA1, Secret: serverSecret})
			out <- err
		}()
		<-arrived
	}
	_, err := get(t, c, slow, 50*time.Millisecond)
	require.False(t, failure(t, err).Sent)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = get(t, c, fast.URL+"/", time.Minute)
	require.NoError(t, err)
	cancel()
	for range 2 {
		err := <-out
		require.True(t, failure(t, err).Sent)
		require.ErrorIs(t, err, context.Canceled)
	}
	close(hang)
}
