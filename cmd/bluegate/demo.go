package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/bluegate/bluegate/internal/app"
	"github.com/bluegate/bluegate/internal/bbb"
	"github.com/bluegate/bluegate/internal/bbbsim"
	"github.com/bluegate/bluegate/internal/pool"
	"github.com/bluegate/bluegate/internal/tenant"
)

// maxDemoServers bounds the simulated servers of one demo.
const maxDemoServers = 500

func (r *root) demo() *cobra.Command {
	d := demo{}
	c := &cobra.Command{
		Use:   "demo",
		Short: "Run a gateway with simulated BigBlueButton servers and two tenants",
		Long: "Run a gateway with embedded defaults in a temporary directory, simulated BigBlueButton servers\n" +
			"and the tenants acme and globex. Nothing of it outlives the program.",
		Args: takes(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return d.run(cmd)
		},
	}
	c.Flags().StringVar(&d.listen, "listen", "127.0.0.1:8080", "`ADDRESS` for tenants")
	c.Flags().StringVar(&d.adminListen, "admin-listen", "127.0.0.1:8081", "`ADDRESS` for operators")
	c.Flags().IntVar(&d.servers, "servers", 3, "number `N` of simulated servers")
	c.Flags().BoolVar(&d.json, "json", false, "print one line of JSON when ready, and nothing else")
	return c
}

type demo struct {
	listen, adminListen string
	servers             int
	json                bool
}

// demoReady is what a demo prints about itself.
type demoReady struct {
	Gateway    string       `json:"gateway"`
	Admin      string       `json:"admin"`
	AdminToken string       `json:"admin_token"` // there are no tokens yet
	Tenants    []demoTenant `json:"tenants"`
	Servers    []demoServer `json:"servers"`
}

type demoTenant struct {
	Slug      string `json:"slug"`
	Secret    string `json:"secret"`
	URL       string `json:"url"`
	SharedURL string `json:"shared_url"`
}

type demoServer struct {
	Name       string `json:"name"`
	URL        string `json:"url"`
	Secret     string `json:"secret"`
	ControlURL string `json:"control_url"`
}

func (d *demo) run(cmd *cobra.Command) (err error) {
	if d.servers < 1 || d.servers > maxDemoServers {
		return fmt.Errorf("--servers is %d: use 1 to %d", d.servers, maxDemoServers)
	}
	dir, err := os.MkdirTemp("", "bluegate-demo-*")
	if err != nil {
		return fmt.Errorf("make a temporary directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	c := app.Default()
	c.Listen, c.AdminListen, c.DataDir = d.listen, d.adminListen, dir
	c.PollInterval = 2 * time.Second // there is little to poll, and changes show soon
	c.LogFormat, c.LogLevel = "text", "warn"
	c.EncryptionKeyFile = filepath.Join(dir, "encryption.key")
	if _, err := app.WriteNewKey(c.EncryptionKeyFile); err != nil {
		return err
	}
	ready := demoReady{}
	stop, err := d.prepare(cmd.Context(), c, &ready)
	defer stop()
	if err != nil {
		return err
	}
	a, err := app.New(c, app.NewLogger(c, cmd.ErrOrStderr()))
	if err != nil {
		return err
	}
	return runApp(cmd.Context(), a, func(ctx context.Context) error {
		c.Listen = a.Addr().String() // the port may have been chosen
		ready.Gateway, ready.Admin = c.BaseURL(), "http://"+a.AdminAddr().String()
		for i := range ready.Tenants {
			t := &ready.Tenants[i]
			t.URL, t.SharedURL = c.TenantURL(t.Slug), c.SharedURL()
		}
		if d.json {
			return printJSON(cmd, ready)
		}
		return ready.print(ctx, cmd.OutOrStdout())
	})
}

// prepare starts the simulated servers and writes them and the tenants into the
// database.
func (d *demo) prepare(ctx context.Context, c app.Config, ready *demoReady) (stop func(), err error) {
	var sims []*bbbsim.Server
	stop = func() {
		for _, s := range sims {
			s.Close()
		}
	}
	s, err := app.OpenStore(ctx, c)
	if err != nil {
		return stop, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	for i := range d.servers {
		v := demoServer{Name: fmt.Sprintf("bbb%d", i+1), Secret: rand.Text()}
		sim := bbbsim.New(bbbsim.Config{Name: v.Name, Secret: v.Secret, Seed: int64(i)})
		if _, err := sim.Start(); err != nil {
			return stop, err
		}
		sims = append(sims, sim)
		v.URL, v.ControlURL = sim.APIURL(), sim.ControlURL()
		if _, err := s.AddServer(ctx, pool.Server{Name: v.Name, APIURL: v.URL, Secret: v.Secret, CapacitySeats: defaultCapacity}); err != nil {
			return stop, err
		}
		ready.Servers = append(ready.Servers, v)
	}
	for _, slug := range []string{"acme", "globex"} {
		_, secret, err := s.CreateTenant(ctx, tenant.Tenant{Slug: slug, Name: slug}, "", nil)
		if err != nil {
			return stop, err
		}
		ready.Tenants = append(ready.Tenants, demoTenant{Slug: slug, Secret: secret.Value})
	}
	return stop, nil
}

// print tells a person what to do next. It opens a room, so that the join link
// leads somewhere.
func (r *demoReady) print(ctx context.Context, w io.Writer) error {
	t := r.Tenants[0]
	sign := func(call bbb.Call) string { return bbb.URL(t.URL, call, bbb.SHA256, t.Secret) }
	room := func(id, name string) bbb.Call {
		return bbb.Call{Name: "create"}.With("meetingID", id).With("name", name).With("attendeePW", "ap").With("moderatorPW", "mp")
	}
	welcome := room("welcome", "Welcome to Bluegate").
		With("meetingExpireIfNoUserJoinedInMinutes", "1440").With("meetingExpireWhenLastUserLeftInMinutes", "1440")
	if err := get(ctx, sign(welcome)); err != nil {
		return err
	}
	join := bbb.Call{Name: "join"}.With("meetingID", "welcome").With("fullName", "Ada").With("password", "mp")

	text := "\nBluegate runs, with " + fmt.Sprint(len(r.Servers)) + " simulated BigBlueButton servers behind it.\n\n" +
		"Paste this into an LMS:\n"
	for _, t := range r.Tenants {
		text += fmt.Sprintf("\n  tenant  %s\n  URL     %s\n  Secret  %s\n", t.Slug, t.URL, t.Secret)
	}
	text += "\n(The URL " + t.SharedURL + " works for both: the secret tells who is calling.)\n" +
		"\nOpen a class as an LMS would:\n\n  curl '" + sign(room("first-class", "My first class")) + "'\n" +
		"\nJoin a room that is open, in a browser:\n\n  " + sign(join) + "\n" +
		"\nLook at the metrics:    " + r.Admin + "/metrics\n" +
		"Break a server:         curl -d '{\"mode\":\"hang\"}' " + r.Servers[0].ControlURL + "faults\n" +
		"Stop:                   Ctrl-C\n\n"
	_, err := io.WriteString(w, text)
	return err
}

func get(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return errors.New("the demo's own URL is malformed")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return errors.New("the demo does not answer itself")
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("read the demo's answer: %w", err)
	}
	if answer, err := bbb.ParseAnswer(body); err != nil || !answer.Success() {
		return fmt.Errorf("the demo's room could not be opened: HTTP status %d", resp.StatusCode)
	}
	return nil
}
