package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/bluegate/bluegate/internal/app"
	"github.com/bluegate/bluegate/internal/pool"
	"github.com/bluegate/bluegate/internal/store"
)

func (r *root) serverState(verb, short string, state pool.AdminState) *cobra.Command {
	return &cobra.Command{
		Use:   verb + " NAME",
		Short: short,
		Args:  takes(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.withStore(cmd.Context(), func(_ app.Config, s *store.Store) error {
				v, err := serverNamed(cmd.Context(), s, args[0])
				if err != nil {
					return err
				}
				if err := s.SetServerAdminState(cmd.Context(), v.ID, state); err != nil {
					return err
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "Server %s is %s.\n", v.Name, state)
				return err
			})
		},
	}
}

func (r *root) serverSetSecret() *cobra.Command {
	var secret string
	var skipProbe bool
	c := &cobra.Command{
		Use:   "set-secret NAME --secret SECRET",
		Short: "Change a server's secret after trying it",
		Args:  takes(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			secret, err := secretFrom(cmd.InOrStdin(), secret)
			if err != nil {
				return err
			}
			if secret == "" {
				return errors.New("give the new secret: --secret SECRET, or --secret - and the secret on standard input")
			}
			return r.withStore(cmd.Context(), func(_ app.Config, s *store.Store) error {
				v, err := serverNamed(cmd.Context(), s, args[0])
				if err != nil {
					return err
				}
				v.Secret = secret
				if !skipProbe {
					found, err := probe(cmd.Context(), v)
					if err != nil {
						return err
					}
					v.Algorithm = found.Algorithm
				}
				if err := s.SetServerSecret(cmd.Context(), v.ID, v.Secret, v.Algorithm); err != nil {
					return err
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "Server %s has its new secret.\n", v.Name)
				return err
			})
		},
	}
	c.Flags().StringVar(&secret, "secret", "", "the server's new `SECRET`; - reads it from standard input")
	c.Flags().BoolVar(&skipProbe, "skip-probe", false, "change the secret without trying it")
	return c
}

func serverNamed(ctx context.Context, s *store.Store, name string) (pool.Server, error) {
	list, err := s.Servers(ctx)
	if err != nil {
		return pool.Server{}, err
	}
	for _, v := range list {
		if v.Name == name {
			return v, nil
		}
	}
	return pool.Server{}, fmt.Errorf("there is no server %q: `bluegate server list` shows those there are", name)
}
