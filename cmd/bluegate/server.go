package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/bluegate/bluegate/internal/app"
	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/pool"
	"github.com/bluegate/bluegate/internal/store"
)

// defaultCapacity is how many participants a server is taken to carry when
// nobody says: BigBlueButton's own advice for its minimum hardware.
const defaultCapacity = 200

func (r *root) server() *cobra.Command {
	return group("server", "Add, list, drain and change BigBlueButton servers", r.serverAdd(), r.serverList(), r.serverSetSecret(),
		r.serverState("drain", "Place no new meetings on a server; those it has go on", pool.Draining),
		r.serverState("disable", "Like drain, and stop polling the server once it has no meetings", pool.Disabled),
		r.serverState("enable", "Place new meetings on a server again", pool.Enabled))
}

func (r *root) serverAdd() *cobra.Command {
	var v pool.Server
	var skipProbe bool
	c := &cobra.Command{
		Use:   "add [NAME] --url URL --secret SECRET",
		Short: "Add a server after trying its URL and secret",
		Long:  "Add a server after trying its URL and secret. Without a name it is called by its host.",
		Example: "  bluegate server add bbb1 --url https://bbb1.example.com/bigbluebutton/ --secret -\n" +
			"  (`bbb-conf --secret` on the server prints both)",
		Args: takes(0, 1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if v.Secret, err = secretFrom(cmd.InOrStdin(), v.Secret); err != nil {
				return err
			}
			if v.APIURL == "" || v.Secret == "" {
				return errors.New("give the server's URL and secret: --url URL --secret SECRET (`bbb-conf --secret` on the server prints both)")
			}
			if v.APIURL, err = pool.NormalizeURL(v.APIURL); err != nil {
				return err
			}
			v.Name = hostOf(v.APIURL)
			if len(args) > 0 {
				v.Name = args[0]
			}
			if v.PublicURL != "" {
				if v.PublicURL, err = pool.NormalizeURL(v.PublicURL); err != nil {
					return err
				}
			}
			if !skipProbe {
				found, err := probe(cmd.Context(), v)
				if err != nil {
					return err
				}
				v.Algorithm = found.Algorithm
			}
			return r.withStore(cmd.Context(), func(_ app.Config, s *store.Store) error {
				added, err := s.AddServer(cmd.Context(), v)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "Server %s is in pool %s with %d seats.\n", added.Name, added.Pool, added.CapacitySeats)
				return err
			})
		},
	}
	c.Flags().StringVar(&v.APIURL, "url", "", "API `URL`, which ends in /bigbluebutton/")
	c.Flags().StringVar(&v.PublicURL, "public-url", "", "`URL` that browsers reach the server at, if it is another one")
	c.Flags().StringVar(&v.Secret, "secret", "", "the server's `SECRET`; - reads it from standard input")
	c.Flags().IntVar(&v.CapacitySeats, "capacity", defaultCapacity, "how many participants (`SEATS`) the server is meant to carry")
	c.Flags().StringVar(&v.Pool, "pool", "default", "`NAME` of the pool the server belongs to")
	c.Flags().BoolVar(&skipProbe, "skip-probe", false, "add the server without trying it")
	return c
}

// hostOf returns the host, with its port if there is one, of a URL that was
// normalized before.
func hostOf(base string) string {
	u, err := url.Parse(base)
	if err != nil {
		return base
	}
	return u.Host
}

func probe(ctx context.Context, s pool.Server) (pool.ProbeResult, error) {
	client := bbb.NewClient(bbb.ClientOptions{ConnectTimeout: 5 * time.Second})
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return pool.Probe(ctx, client, s)
}

func (r *root) serverList() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List servers",
		Args:  takes(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return r.withStore(cmd.Context(), func(_ app.Config, s *store.Store) error {
				list, err := s.Servers(cmd.Context())
				if err != nil {
					return err
				}
				type row struct {
					Name      string `json:"name"`
					Pool      string `json:"pool"`
					State     string `json:"state"`
					Capacity  int    `json:"capacity_seats"`
					APIURL    string `json:"api_url"`
					PublicURL string `json:"public_url"`
				}
				rows := make([]row, 0, len(list))
				for _, v := range list {
					rows = append(rows, row{v.Name, v.Pool, string(v.AdminState), v.CapacitySeats, v.APIURL, v.PublicURL})
				}
				if asJSON {
					return printJSON(cmd, rows)
				}
				w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
				_, _ = fmt.Fprintln(w, "NAME\tPOOL\tSTATE\tSEATS\tAPI URL")
				for _, v := range rows {
					_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\n", v.Name, v.Pool, v.State, v.Capacity, v.APIURL)
				}
				return w.Flush()
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// secretFrom returns the secret a flag gives; "-" reads a line of standard
// input, which no other user of the machine can see.
func secretFrom(in io.Reader, flag string) (string, error) {
	if flag != "-" {
		return flag, nil
	}
	line, err := bufio.NewReader(io.LimitReader(in, 4096)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the secret: %w", err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}
