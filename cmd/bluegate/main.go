// Command bluegate is the gateway and the operators' command line.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/bluegate/bluegate/internal/app"
	"github.com/bluegate/bluegate/internal/fault"
	"github.com/bluegate/bluegate/internal/store"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run executes a command line until it is done or a signal comes, and returns
// its exit code.
func run(args []string, in io.Reader, out, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c := newRoot()
	c.SetArgs(args)
	c.SetIn(in)
	c.SetOut(out)
	c.SetErr(errOut)
	if err := c.ExecuteContext(ctx); err != nil {
		_, _ = fmt.Fprintln(errOut, "bluegate: "+message(err))
		return 1
	}
	return 0
}

// message is an error for people: of a classified one its sentence, and the
// cause where the sentence doesn't hold it.
func message(err error) string {
	f, ok := errors.AsType[*fault.Error](err)
	switch {
	case !ok:
		return err.Error()
	case f.Kind == fault.Internal && f.Err != nil:
		return f.Message + " (" + f.Err.Error() + ")"
	}
	return f.Message
}

// root is what all commands share.
type root struct {
	configFile string
}

func newRoot() *cobra.Command {
	var r root
	c := &cobra.Command{
		Use:           "bluegate",
		Short:         "A multi-tenant gateway in front of BigBlueButton servers",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	c.PersistentFlags().StringVar(&r.configFile, "config", os.Getenv("BLUEGATE_CONFIG"),
		"YAML `FILE` with settings; BLUEGATE_... in the environment wins over it")
	c.SetFlagErrorFunc(seeHelp)
	c.AddCommand(r.serve(), r.demo(), r.migrate(), r.doctor(), r.version(), r.tenant(), r.server())
	return c
}

// group is a command that only holds others, and shows them when it stands
// alone. Cobra would do the same, and succeed, when one of them is mistyped.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, DisableFlagsInUseLine: true, SuggestionsMinimumDistance: 2,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			err := fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())
			if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
				return fmt.Errorf("%w: did you mean %s?", err, strings.Join(like, " or "))
			}
			return seeHelp(cmd, err)
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(commands...)
	return c
}

func seeHelp(cmd *cobra.Command, err error) error {
	return fmt.Errorf("%w (`%s --help` shows what there is)", err, cmd.CommandPath())
}

// takes refuses any other number of arguments than those given, and shows how
// the command is written.
func takes(numbers ...int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if !slices.Contains(numbers, len(args)) {
			return fmt.Errorf("wrong number of arguments: write `%s`", cmd.UseLine())
		}
		return nil
	}
}

// withStore lets a command work on the configured database.
func (r *root) withStore(ctx context.Context, work func(c app.Config, s *store.Store) error) error {
	c, err := app.Load(r.configFile)
	if err != nil {
		return err
	}
	s, err := app.OpenStore(ctx, c)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	return work(c, s)
}
