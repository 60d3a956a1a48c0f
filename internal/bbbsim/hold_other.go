//go:build !unix

package bbbsim

import "io"

// holdPort does nothing where a port can't be bound without listening on it.
func holdPort(string) io.Closer { return nil }
