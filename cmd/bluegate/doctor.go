package main

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/bluegate/bluegate/internal/app"
	"github.com/bluegate/bluegate/internal/pool"
)

func (r *root) doctor() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check the configuration, the database and every server",
		Args:  takes(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := &checks{cmd: cmd}
			c, err := app.Load(r.configFile)
			if !d.report("configuration", err, "") {
				return errDoctor
			}
			for _, name := range app.UnknownEnvironment() {
				d.hint(name + " is no setting and has no effect")
			}
			s, err := app.OpenStore(cmd.Context(), c)
			if !d.report("database, schema and encryption key", err, "") {
				return errDoctor
			}
			defer func() { _ = s.Close() }()
			tenants, err := s.Tenants(cmd.Context())
			d.report("tenants", err, strconv.Itoa(len(tenants)))
			if err == nil && len(tenants) == 0 {
				d.hint("there is no tenant yet: bluegate tenant create SLUG")
			}
			servers, err := s.Servers(cmd.Context())
			d.report("servers", err, strconv.Itoa(len(servers)))
			if err == nil && len(servers) == 0 {
				d.hint("there is no server yet: bluegate server add NAME --url URL --secret SECRET")
			}
			for _, v := range servers {
				if v.AdminState == pool.Disabled {
					continue
				}
				found, err := probe(cmd.Context(), v)
				d.report("server "+v.Name, err, fmt.Sprintf("%d meetings", found.Meetings))
			}
			if d.failed {
				return errDoctor
			}
			return nil
		},
	}
}

var errDoctor = errors.New("something is not as it should be")

// checks prints what was looked at.
type checks struct {
	cmd    *cobra.Command
	failed bool
}

func (d *checks) report(what string, err error, found string) bool {
	if err != nil {
		d.failed = true
		_, _ = fmt.Fprintf(d.cmd.OutOrStdout(), "FAIL  %s: %s\n", what, message(err))
		return false
	}
	if found != "" {
		found = ": " + found
	}
	_, _ = fmt.Fprintf(d.cmd.OutOrStdout(), "ok    %s%s\n", what, found)
	return true
}

func (d *checks) hint(text string) {
	_, _ = fmt.Fprintf(d.cmd.OutOrStdout(), "      %s\n", text)
}
