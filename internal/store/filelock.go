//go:build unix

package store

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"

	"github.com/bluegate/bluegate/internal/fault"
)

// errLocked means that another process, or another part of this one, has the lock.
var errLocked = errors.New("locked by another process")

// lockRetry is how often a lock that is taken is tried again.
const lockRetry = 20 * time.Millisecond

// tryFileLock takes an exclusive lock on the file, which it creates if need be
// and never deletes: a deleted lock file would let two hold "the" lock. The
// kernel frees the lock when the process dies. Error: errLocked, or why the
// file can't be opened.
func tryFileLock(path string) (release func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errLocked
		}
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}

// waitFileLock takes the lock as soon as it is free. It asks again and again
// rather than block in the kernel, where the context could not reach it.
func waitFileLock(ctx context.Context, path string) (release func(), err error) {
	tick := time.NewTicker(lockRetry)
	defer tick.Stop()
	for {
		release, err := tryFileLock(path)
		if err == nil {
			return release, nil
		}
		if !errors.Is(err, errLocked) {
			return nil, fault.Wrap(fault.Unavailable, keyUnavailable, "The lock file beside the database can't be opened.", err)
		}
		select {
		case <-ctx.Done():
			return nil, fault.Wrap(fault.Unavailable, keyUnavailable, "Another process migrates this database.", ctx.Err())
		case <-tick.C:
		}
	}
}
