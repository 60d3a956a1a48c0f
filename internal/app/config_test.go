package app_test

import (
	"context"
	"encoding/base64"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bluegate/bluegate/internal/app"
	"github.com/bluegate/bluegate/internal/app/apptest"
	"github.com/bluegate/bluegate/internal/store"
	"github.com/bluegate/bluegate/internal/store/pgtest"
)

func configFile(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bluegate.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestConfigOrder(t *testing.T) {
	c, err := app.Load("")
	require.NoError(t, err)
	require.Equal(t, app.Default(), c, "without a file and environment everything is as by default")

	path := configFile(t, "listen: 127.0.0.1:1000\npoll_interval: 20s\ntrusted_proxies: [10.0.0.0/8, 192.0.2.1]\n")
	t.Setenv("BLUEGATE_POLL_INTERVAL", "30s")
	t.Setenv("BLUEGATE_PPROF", "true")
	t.Setenv("BLUEGATE_ADMIN_LISTEN", "") // as an empty line in a compose file makes it
	c, err = app.Load(path)
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:1000", c.Listen, "the file comes after the defaults")
	require.Equal(t, 30*time.Second, c.PollInterval, "the environment comes after the file")
	require.True(t, c.Pprof)
	require.Equal(t, app.Default().AdminListen, c.AdminListen)
	require.Equal(t, []string{"10.0.0.0/8", "192.0.2.1"}, c.TrustedProxies)

	t.Setenv("BLUEGATE_TRUSTED_PROXIES", "172.16.0.0/12,2001:db8::/32")
	c, err = app.Load(path)
	require.NoError(t, err)
	require.Equal(t, []string{"172.16.0.0/12", "2001:db8::/32"}, c.TrustedProxies)

	c, err = app.Load(configFile(t, "# nothing but a comment\n"))
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:8081", c.AdminListen)
}

// TestConfigErrors: an error names the place, and says what to write instead.
func TestConfigErrors(t *testing.T) {
	for text, want := range map[string]string{
		"listen: :1\nlisten_port: :2\n":        "line 2: listen_port is no setting",
		"listen: :1\nlisten: :2\n":             "line 2",
		"poll_interval: 10\n":                  "line 1: cannot unmarshal !!int `10` into a duration such as 10s",
		"poll_interval: 10\nfoo: 1\n":          "into a duration such as 10s; line 2: foo is no setting",
		"database_url: mysql://a:b@c/d\n":      "database_url must begin with sqlite: or postgres://",
		"database_url: bluegate.db\n":          "database_url must begin with sqlite: or postgres://",
		"poll_interval: ten\n":                 "line 1",
		"poll_interval: 0s\n":                  "poll_interval is 0s: it must be more than nothing, such as 10s",
		"call_timeout: -1s\n":                  "call_timeout is -1s",
		"down_after: many\n":                   "line 1",
		"down_after: 0\n":                      "down_after",
		"max_body_bytes: 0\n":                  "max_body_bytes",
		"log_format: xml\n":                    `log_format is "xml": use json or text`,
		"log_level: loud\n":                    `log_level is "loud": use debug, info, warn or error`,
		"trusted_proxies: [everybody]\n":       `"everybody" is no network: use one such as 10.0.0.0/8`,
		"trusted_proxies: everybody\n":         "line 1",
		"public_url: bbb.example.com\n":        "use a URL such as https://bbb.example.com",
		"public_url: ftp://bbb.example.com/\n": "use a URL such as https://bbb.example.com",
		"just words\n":                         "line 1",
	} {
		_, err := app.Load(configFile(t, text))
		require.ErrorContains(t, err, want, "%q", text)
	}
	_, err := app.Load(filepath.Join(t.TempDir(), "none.yaml"))
	require.ErrorContains(t, err, "none.yaml")
	t.Setenv("BLUEGATE_POLL_INTERVAL", "soon")
	_, err = app.Load("")
	require.ErrorContains(t, err, "environment")
	require.ErrorContains(t, err, "BLUEGATE_POLL_INTERVAL")
}

// TestConfigErrorsHoldNoSecret: what is wrong with a secret setting is told
// without it.
func TestConfigErrorsHoldNoSecret(t *testing.T) {
	const secret = "hunter2hunter2"
	c := app.Default()
	c.DataDir = t.TempDir()
	c.EncryptionKey = secret
	_, err := app.New(c, app.NewLogger(c, io.Discard))
	require.ErrorContains(t, err, "32 random bytes")
	require.NotContains(t, err.Error(), secret)

	c.EncryptionKey, c.EncryptionKeyFile = "", configFile(t, secret)
	_, err = app.New(c, app.NewLogger(c, io.Discard))
	require.ErrorContains(t, err, c.EncryptionKeyFile)
	require.NotContains(t, err.Error(), secret)

	c.EncryptionKeyFile, c.EncryptionKey = "", store.NewKey().Encode()
	for _, url := range []string{"postgres://bluegate:" + secret + "@host:port/x", "mysql://bluegate:" + secret + "@host/x", "postgres://bluegate:" + secret + "@127.0.0.1:1/x"} {
		c.DatabaseURL = url
		_, err = app.OpenStore(t.Context(), c)
		require.Error(t, err)
		require.NotContains(t, err.Error(), secret)
		_, err = app.Migrate(t.Context(), c)
		require.Error(t, err)
		require.NotContains(t, err.Error(), secret)
	}
}

// TestEncryptionKey: a single node makes itself a key that nobody else can read;
// anything larger must be given one.
func TestEncryptionKey(t *testing.T) {
	c := app.Default()
	c.DataDir = filepath.Join(t.TempDir(), "data")
	key, made, err := c.Key()
	require.NoError(t, err)
	require.Equal(t, filepath.Join(c.DataDir, "encryption.key"), made)
	info, err := os.Stat(made)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	dir, err := os.Stat(c.DataDir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), dir.Mode().Perm())
	again, made2, err := c.Key()
	require.NoError(t, err)
	require.Empty(t, made2)
	require.Equal(t, key.ID(), again.ID(), "the next start finds it")
	_, err = app.WriteNewKey(made)
	require.ErrorIs(t, err, os.ErrExist, "a key is never overwritten")

	c.EncryptionKeyFile = made
	c.DatabaseURL = "postgres://bluegate@127.0.0.1/bluegate"
	fromFile, _, err := c.Key()
	require.NoError(t, err)
	require.Equal(t, key.ID(), fromFile.ID())
	t.Setenv("BLUEGATE_ENCRYPTION_KEY_FILE", made)
	loaded, err := app.Load("")
	require.NoError(t, err)
	require.Equal(t, made, loaded.EncryptionKeyFile)

	c.EncryptionKeyFile = ""
	_, err = app.New(c, app.NewLogger(c, io.Discard))
	require.ErrorContains(t, err, "there is no encryption key")
	require.ErrorContains(t, err, "BLUEGATE_ENCRYPTION_KEY")
	require.ErrorContains(t, err, "openssl rand -base64 32", "the line to paste")

	single := app.Default()
	single.DataDir = configFile(t, "a file") // what can't be looked at is no reason to make a new key
	_, _, err = single.Key()
	require.ErrorContains(t, err, "read the encryption key")

	c.EncryptionKeyFile = filepath.Join(c.DataDir, "none.key")
	_, _, err = c.Key()
	require.ErrorContains(t, err, "none.key")
	c.EncryptionKeyFile = ""
	c.EncryptionKey = base64.StdEncoding.EncodeToString(make([]byte, 32))
	_, _, err = c.Key()
	require.Error(t, err, "thirty-two zeros are no key")
}

// fails starts an app that can't go on and returns why.
func fails(t *testing.T, c app.Config) error {
	t.Helper()
	a, err := app.New(c, app.NewLogger(c, io.Discard))
	require.NoError(t, err)
	require.NoError(t, a.Start(t.Context()))
	t.Cleanup(func() { a.Stop(context.Background()) })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return a.WaitReady(ctx)
}

// TestSecondServe: a second process on the same SQLite file is refused, before
// it touches the schema under the first.
func TestSecondServe(t *testing.T) {
	e := apptest.Start(t, apptest.Options{})
	err := fails(t, e.Config())
	require.ErrorContains(t, err, "Another bluegate serves from this SQLite file")
	require.ErrorContains(t, err, "PostgreSQL for more than one replica")
	require.True(t, e.Tenant("acme").Create("c1").Answer(t).Success(), "the first goes on")
	e.Replicas[0].Stop(context.Background())
	e.StartReplica()
	require.True(t, e.TenantAt(1, "acme").Info("c1").Answer(t).Success(), "when the first has stopped the next may serve")
}

// TestWrongKey: a key that is not the database's is an error at the start, not a
// gateway that starts for ever.
func TestWrongKey(t *testing.T) {
	apptest.Databases(t, func(t *testing.T, db string) {
		e := apptest.Prepare(t, apptest.Options{DatabaseURL: db})
		c := e.Config()
		c.EncryptionKey = store.NewKey().Encode()
		require.ErrorContains(t, fails(t, c), "is not the one this database was set up with")
	})
}

// TestOperatorsStore: commands bring a single node's database up to date by
// themselves, and leave a larger one's to `bluegate migrate`.
func TestOperatorsStore(t *testing.T) {
	c := app.Default()
	c.DataDir = t.TempDir()
	s, err := app.OpenStore(t.Context(), c)
	require.NoError(t, err)
	require.NoError(t, s.Close())

	c.DatabaseURL, c.EncryptionKey = pgtest.URL(t), store.NewKey().Encode()
	_, err = app.OpenStore(t.Context(), c)
	require.ErrorContains(t, err, "bluegate migrate")
	version, err := app.Migrate(t.Context(), c)
	require.NoError(t, err)
	require.Positive(t, version)
	s, err = app.OpenStore(t.Context(), c)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	c.DatabaseURL = "postgres://nobody@127.0.0.1:1/x"
	_, err = app.OpenStore(t.Context(), c)
	require.ErrorContains(t, err, "refused", "the operator learns why")
}

func TestURLs(t *testing.T) {
	c := app.Default()
	require.Equal(t, "http://localhost:8080/t/acme/bigbluebutton/", c.TenantURL("acme"))
	require.Equal(t, "http://localhost:8080/bigbluebutton/", c.SharedURL())
	c.PublicURL = "https://bbb.example.com/"
	require.Equal(t, "https://bbb.example.com/t/acme/bigbluebutton/", c.TenantURL("acme"))
}

func TestLogger(t *testing.T) {
	for format, want := range map[string]string{"json": `"msg":"hello"`, "text": "msg=hello"} {
		c := app.Default()
		c.LogFormat, c.LogLevel = format, "warn"
		var out strings.Builder
		log := app.NewLogger(c, &out)
		log.Info("silent")
		log.Warn("hello")
		require.Contains(t, out.String(), want)
		require.NotContains(t, out.String(), "silent")
	}
}
