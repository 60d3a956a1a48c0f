package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"strconv"

	"github.com/bluegate/bluegate/internal/bbbsim"
)

var errUsage = errors.New("wrong usage")

// options are the command line.
type options struct {
	listen  string
	servers int
	sim     bbbsim.Config
}

// run serves until the context ends.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	opts, err := parse(args, stderr)
	if err != nil {
		return err
	}
	for i := range opts.servers {
		cfg := opts.sim
		cfg.Name = "bbb" + strconv.Itoa(i+1)
		server := bbbsim.New(cfg)
		defer server.Close()
		addr, err := nthAddress(opts.listen, i)
		if err != nil {
			return err
		}
		if _, err := server.StartOn(addr); err != nil {
			return err
		}
		fmt.Fprintf(stdout, "%s  url=%s  secret=%s  control=%s\n", cfg.Name, server.APIURL(), cfg.Secret, server.ControlURL())
	}
	<-ctx.Done()
	return nil
}

func parse(args []string, stderr io.Writer) (options, error) {
	var opts options
	var profile string
	flags := flag.NewFlagSet("bbbsim", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&opts.listen, "listen", "127.0.0.1:8090", "address of the first server; port 0 takes free ports")
	flags.IntVar(&opts.servers, "servers", 1, "number of servers, on consecutive ports")
	flags.StringVar(&opts.sim.Secret, "secret", "bbbsim-secret", "shared secret of the servers")
	flags.StringVar(&profile, "profile", string(bbbsim.Profile30), "generation of BBB: 2.4 or 3.0")
	flags.Float64Var(&opts.sim.Speed, "speed", 1, "time scale: 60 makes a minute pass in a second")
	flags.StringVar(&opts.sim.PublicURL, "public-url", "", "base of links for browsers (default: the request's host)")
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	var err error
	if opts.sim.Profile, err = bbbsim.ParseProfile(profile); err != nil {
		return options{}, fmt.Errorf("%w: %w", errUsage, err)
	}
	switch {
	case flags.NArg() > 0:
		return options{}, fmt.Errorf("%w: unexpected argument %q", errUsage, flags.Arg(0))
	case opts.servers < 1 || opts.servers > 1000:
		return options{}, fmt.Errorf("%w: -servers must be between 1 and 1000", errUsage)
	case !(opts.sim.Speed > 0):
		return options{}, fmt.Errorf("%w: -speed must be above 0", errUsage)
	}
	return opts, nil
}

// nthAddress is the address of the n-th server after the first one.
func nthAddress(listen string, n int) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fmt.Errorf("%w: -listen: %w", errUsage, err)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	switch {
	case err != nil:
		return "", fmt.Errorf("%w: -listen: %w", errUsage, err)
	case number == 0:
		return listen, nil
	case int(number)+n > 65535:
		return "", fmt.Errorf("%w: -listen: no port for server %d", errUsage, n+1)
	}
	return net.JoinHostPort(host, strconv.Itoa(int(number)+n)), nil
}
