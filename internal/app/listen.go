package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// Bounds on slow clients. Bodies of 27 MB come over slow lines; a create may try
// three servers.
const (
	headerTimeout = 10 * time.Second
	readTimeout   = 2 * time.Minute
	writeTimeout  = 3 * time.Minute
	idleTimeout   = 75 * time.Second
	maxHeader     = 256 << 10
)

func newHTTPServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
	}
}

// listen opens an address. The error names the setting it is from and says what
// to do.
func listen(ctx context.Context, setting, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s is %s, which another program uses: stop that one or choose another address", setting, addr)
	case err != nil:
		return nil, fmt.Errorf("%s is %q, which can't be listened on: %w", setting, addr, err)
	}
	return l, nil
}

// perAddress bounds how many connections one client address may hold. Further
// ones are closed at once.
type perAddress struct {
	net.Listener
	limit  int
	exempt []netip.Prefix

	mu    sync.Mutex
	count map[netip.Addr]int
}

func limitPerAddress(l net.Listener, limit int, exempt []netip.Prefix) *perAddress {
	return &perAddress{Listener: l, limit: limit, exempt: exempt, count: map[netip.Addr]int{}}
}

// Accept implements net.Listener.
func (l *perAddress) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		addr := peerAddr(conn)
		if l.isExempt(addr) {
			return conn, nil
		}
		if !l.enter(addr) {
			_ = conn.Close()
			continue
		}
		return &countedConn{Conn: conn, leave: sync.OnceFunc(func() { l.leave(addr) })}, nil
	}
}

// peerAddr is the other end's address, the zero one when it has none.
func peerAddr(conn net.Conn) netip.Addr {
	peer, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return peer.AddrPort().Addr().Unmap()
}

func (l *perAddress) isExempt(addr netip.Addr) bool {
	for _, p := range l.exempt {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

func (l *perAddress) enter(addr netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count[addr] >= l.limit {
		return false
	}
	l.count[addr]++
	return true
}

func (l *perAddress) leave(addr netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count[addr]--; l.count[addr] <= 0 {
		delete(l.count, addr)
	}
}

type countedConn struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (c *countedConn) Close() error {
	c.leave()
	return c.Conn.Close()
}

// CloseWrite tells a client that still sends that there is no more to come; the
// server looks for this method.
func (c *countedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
