package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/bluegate/bluegate/internal/app"
)

func (r *root) serve() *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway",
		Args:  takes(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := app.Load(r.configFile)
			if err != nil {
				return err
			}
			a, err := app.New(c, app.NewLogger(c, cmd.ErrOrStderr()))
			if err != nil {
				return err
			}
			return runApp(cmd.Context(), a, nil)
		},
	}
}

// runApp runs an app until ctx is done or it fails; whenReady is called once.
func runApp(ctx context.Context, a *app.App, whenReady func(ctx context.Context) error) error {
	if err := a.Start(ctx); err != nil {
		a.Stop(context.WithoutCancel(ctx))
		return err
	}
	defer a.Stop(context.WithoutCancel(ctx))
	if whenReady != nil {
		if err := a.WaitReady(ctx); err != nil {
			return err
		}
		if err := whenReady(ctx); err != nil {
			return err
		}
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-a.Failed():
		return err
	}
}

func (r *root) version() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  takes(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "bluegate", app.Version())
			return err
		},
	}
}

func (r *root) migrate() *cobra.Command {
	return &cobra.Command{
		Use:   "migrate",
		Short: "Bring the database's schema up to date",
		Long: "Bring the database's schema up to date. `serve` does it by itself; several replicas may do it at once.\n" +
			"A schema that is newer than this program is refused.",
		Args: takes(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := app.Load(r.configFile)
			if err != nil {
				return err
			}
			version, err := app.Migrate(cmd.Context(), c)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "The schema is at version %d.\n", version)
			return err
		},
	}
}

// printJSON writes v as one line.
func printJSON(cmd *cobra.Command, v any) error {
	return json.NewEncoder(cmd.OutOrStdout()).Encode(v)
}
