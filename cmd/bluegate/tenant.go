package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/bluegate/bluegate/internal/app"
	"github.com/bluegate/bluegate/internal/fault"
	"github.com/bluegate/bluegate/internal/store"
	"github.com/bluegate/bluegate/internal/tenant"
)

func (r *root) tenant() *cobra.Command {
	return group("tenant", "Create, list, suspend and resume tenants", r.tenantCreate(), r.tenantList(),
		r.tenantState("suspend", "Refuse new rooms of a tenant; rooms that are open go on", tenant.Suspended),
		r.tenantState("resume", "Let a suspended tenant open rooms again", tenant.Active))
}

func (r *root) tenantCreate() *cobra.Command {
	var name, secret string
	var hosts []string
	var asJSON bool
	c := &cobra.Command{
		Use:   "create SLUG",
		Short: "Create a tenant and print the URL and the secret for its LMS, once",
		Args:  takes(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			secret, err := secretFrom(cmd.InOrStdin(), secret)
			if err != nil {
				return err
			}
			return r.withStore(cmd.Context(), func(config app.Config, s *store.Store) error {
				t, sec, err := s.CreateTenant(cmd.Context(), tenant.Tenant{Slug: args[0], Name: name}, secret, hosts)
				if err != nil {
					return err
				}
				out := struct {
					Slug      string `json:"slug"`
					Secret    string `json:"secret"`
					URL       string `json:"url"`
					SharedURL string `json:"shared_url,omitempty"`
				}{Slug: t.Slug, Secret: sec.Value, URL: config.TenantURL(t.Slug)}
				if sec.Shared {
					out.SharedURL = config.SharedURL()
				}
				if asJSON {
					return printJSON(cmd, out)
				}
				_, _ = fmt.Fprintf(cmd.OutOrStdout(), "Tenant %s is ready. Paste this into its LMS; the secret is shown this once:\n\n  URL     %s\n  Secret  %s\n",
					t.Slug, out.URL, out.Secret)
				if !sec.Shared {
					_, _ = fmt.Fprintf(cmd.OutOrStdout(), "\nThe secret works with this URL only, not with the shared one: it is shorter than %d characters or not unique.\n",
						tenant.MinSharedSecret)
				}
				if config.PublicURL == "" {
					_, _ = fmt.Fprint(cmd.OutOrStdout(), "\nThis URL is good on this machine only: set public_url to the gateway's URL as the LMS reaches it.\n")
				}
				return nil
			})
		},
	}
	c.Flags().StringVar(&name, "name", "", "the `NAME` that people see")
	c.Flags().StringVar(&secret, "secret", "", "`SECRET` to use instead of a new one; - reads it from standard input")
	c.Flags().StringSliceVar(&hosts, "host", nil, "host `NAME` that stands for the tenant (repeatable)")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (r *root) tenantList() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List tenants",
		Args:  takes(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return r.withStore(cmd.Context(), func(config app.Config, s *store.Store) error {
				list, err := s.Tenants(cmd.Context())
				if err != nil {
					return err
				}
				type row struct {
					Slug  string `json:"slug"`
					Name  string `json:"name"`
					State string `json:"state"`
					URL   string `json:"url"`
				}
				rows := make([]row, 0, len(list))
				for _, t := range list {
					rows = append(rows, row{t.Slug, t.Name, string(t.State), config.TenantURL(t.Slug)})
				}
				if asJSON {
					return printJSON(cmd, rows)
				}
				w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
				_, _ = fmt.Fprintln(w, "SLUG\tSTATE\tNAME\tURL")
				for _, t := range rows {
					_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", t.Slug, t.State, t.Name, t.URL)
				}
				return w.Flush()
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (r *root) tenantState(verb, short string, state tenant.State) *cobra.Command {
	return &cobra.Command{
		Use:   verb + " SLUG",
		Short: short,
		Args:  takes(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.withStore(cmd.Context(), func(_ app.Config, s *store.Store) error {
				t, err := s.TenantBySlug(cmd.Context(), args[0])
				if fault.Is(err, fault.NotFound) {
					return fmt.Errorf("there is no tenant %q: `bluegate tenant list` shows those there are", args[0])
				}
				if err != nil {
					return err
				}
				if err := s.SetTenantState(cmd.Context(), t.ID, state); err != nil {
					return err
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "Tenant %s is %s.\n", t.Slug, state)
				return err
			})
		},
	}
}
