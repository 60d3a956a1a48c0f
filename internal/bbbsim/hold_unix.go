//go:build unix

package bbbsim

import (
	"fmt"
	"io"
	"net"
	"syscall"
)

// socket is a file descriptor of a socket.
type socket int

// Close implements io.Closer.
func (fd socket) Close() error {
	if err := syscall.Close(int(fd)); err != nil {
		return fmt.Errorf("close socket: %w", err)
	}
	return nil
}

// holdPort binds a closed port without listening on it: connections are refused,
// and the system doesn't hand the number to another process while a test wants it
// back. It is best effort; nil when the address can't be held.
func holdPort(addr string) io.Closer {
	tcp, err := net.ResolveTCPAddr("tcp4", addr)
	if err != nil || tcp.IP.To4() == nil {
		return nil
	}
	// No fork may inherit it, or the port would stay held by the child.
	syscall.ForkLock.RLock()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil
	}
	// Both this socket and the later listener need the option to share the
	// number, which the system allows as long as neither listens.
	err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	if err == nil {
		err = syscall.Bind(fd, &syscall.SockaddrInet4{Port: tcp.Port, Addr: [4]byte(tcp.IP.To4())})
	}
	if err != nil {
		_ = syscall.Close(fd) // nothing was done with it
		return nil
	}
	return socket(fd)
}
