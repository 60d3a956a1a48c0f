package bbb

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"time"
)

// ClientOptions bounds a client.
type ClientOptions struct {
	ConnectTimeout    time.Duration // for TCP and TLS each; default 2 s
	MaxAnswer         int64         // bytes of an answer's body; default 64 MiB
	MaxConnsPerServer int           // default 64; further calls wait within their deadline
}

// Client calls BBB servers over shared keep-alive connections. The time a call
// may take is its context's. Redirects are answers, not followed.
type Client struct {
	transport *http.Transport
	maxAnswer int64
}

// NewClient returns a client; Close it to let go of its idle connections.
func NewClient(o ClientOptions) *Client {
	if o.ConnectTimeout <= 0 {
		o.ConnectTimeout = 2 * time.Second
	}
	if o.MaxAnswer <= 0 {
		o.MaxAnswer = 64 << 20
	}
	if o.MaxConnsPerServer <= 0 {
		o.MaxConnsPerServer = 64
	}
	dialer := &net.Dialer{Timeout: o.ConnectTimeout, KeepAlive: 15 * time.Second}
	return &Client{
		maxAnswer: o.MaxAnswer,
		// A transport without an http.Client around it: that one would look into
		// redirects, and repeat the signed URL in its errors.
		transport: &http.Transport{
			DialContext:         dialer.DialContext,
			TLSHandshakeTimeout: o.ConnectTimeout,
			TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
			// One connection a call: a stuck one hurts nobody else.
			TLSNextProto:           map[string]func(string, *tls.Conn) http.RoundTripper{},
			MaxIdleConns:           0,
			MaxIdleConnsPerHost:    o.MaxConnsPerServer,
			MaxConnsPerHost:        o.MaxConnsPerServer,
			IdleConnTimeout:        90 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			DisableCompression:     true,
		},
	}
}

// Close lets go of idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Request is one call to one server.
type Request struct {
	// Base is the server's API base, ending in "/bigbluebutton/".
	Base      string
	Call      Call // unsigned; everything that is signed stands in its query
	Algorithm Algorithm
	Secret    string
	// Body, when not nil, makes the request a POST.
	Body        io.Reader
	BodySize    int64
	ContentType string
}

// Response is what a server answered. Answer is set when the body is XML with
// a SUCCESS or FAILED returncode.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
	Answer *Answer
}

// CallError is a call without an answer. It never holds the signed URL.
type CallError struct {
	// Sent reports whether the server may have received the call. When false,
	// no connection was established: the call has had no effect.
	Sent bool
	Err  error
}

// Error implements error.
func (e *CallError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *CallError) Unwrap() error { return e.Err }

// URL returns where a browser or a client calls the server: the signed query
// behind "<base>api/<call>?".
func URL(base string, call Call, alg Algorithm, secret string) string {
	return base + "api/" + call.Name + "?" + call.Sign(alg, secret)
}

// Do sends the call and reads the whole answer. An error is a *CallError.
func (c *Client) Do(ctx context.Context, r Request) (Response, error) {
	var sent atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { sent.Store(true) },
	})
	method := http.MethodGet
	if r.Body != nil {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(traced, method, URL(r.Base, r.Call, r.Algorithm, r.Secret), r.Body)
	if err != nil {
		return Response{}, &CallError{Err: errors.New("the server's API URL is malformed")}
	}
	if r.Body != nil {
		req.ContentLength = r.BodySize
		req.Header.Set("Content-Type", r.ContentType)
	}
	req.Header.Set("User-Agent", "Bluegate")
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return Response{}, &CallError{Sent: sent.Load(), Err: publicCause(err)}
	}
	defer resp.Body.Close() // it was read or given up
	body, err := readAll(resp, c.maxAnswer)
	if err != nil {
		return Response{}, &CallError{Sent: true, Err: err}
	}
	out := Response{Status: resp.StatusCode, Header: resp.Header, Body: body}
	if a, err := ParseAnswer(body); err == nil && resp.StatusCode/100 == 2 && (a.Success() || a.Failed()) {
		out.Answer = &a
	}
	return out, nil
}

// maxPromise is how much memory an answer gets for the length it promises alone.
const maxPromise = 1 << 20

func readAll(resp *http.Response, limit int64) ([]byte, error) {
	if resp.ContentLength > limit {
		return nil, fmt.Errorf("the answer has more than %d bytes", limit)
	}
	if n := resp.ContentLength; n >= 0 && n <= maxPromise {
		body := make([]byte, n)
		if _, err := io.ReadFull(resp.Body, body); err != nil {
			return nil, fmt.Errorf("read the answer: %w", publicCause(err))
		}
		return body, nil
	}
	var buf bytes.Buffer
	n, err := buf.ReadFrom(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", publicCause(err))
	}
	if n > limit {
		return nil, fmt.Errorf("the answer has more than %d bytes", limit)
	}
	return buf.Bytes(), nil
}

var errNotHTTP = errors.New("the answer is not HTTP")

// publicCause returns a failure without what the server wrote: net/http quotes
// what it can't read, and something that isn't a BBB server may echo the signed
// request.
func publicCause(err error) error {
	if _, ok := errors.AsType[net.Error](err); ok {
		return err
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return err
	}
	if strings.ContainsAny(err.Error(), `"=`) || strings.Contains(err.Error(), "malformed") {
		return errNotHTTP
	}
	return err
}
