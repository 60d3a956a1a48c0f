package app

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
	"go.yaml.in/yaml/v3"

	"github.com/bluegate/bluegate/internal/store"
)

// Config is everything an operator can set, in a YAML file (the names below) or
// in the environment (BLUEGATE_ and the name in capitals). Durations are written
// like "10s".
type Config struct {
	// Listen is where tenants call; AdminListen is for operators and must not
	// be reachable for others.
	Listen      string `yaml:"listen" env:"LISTEN"`
	AdminListen string `yaml:"admin_listen" env:"ADMIN_LISTEN"`
	// PublicURL is the gateway as tenants reach it, for the URLs that are
	// printed; "" for http://<listen>.
	PublicURL string `yaml:"public_url" env:"PUBLIC_URL"`
	// DataDir holds the SQLite database and the encryption key's file.
	DataDir string `yaml:"data_dir" env:"DATA_DIR"`
	// DatabaseURL is "postgres://..." or "sqlite:/path"; "" for a SQLite file in DataDir.
	DatabaseURL string `yaml:"database_url" env:"DATABASE_URL"`
	// EncryptionKey is 32 bytes in base64 or hex; EncryptionKeyFile a file that
	// holds it. With neither, and SQLite, a key is made in DataDir.
	EncryptionKey     string `yaml:"encryption_key" env:"ENCRYPTION_KEY"`
	EncryptionKeyFile string `yaml:"encryption_key_file" env:"ENCRYPTION_KEY_FILE"`

	// TrustedProxies are networks ("10.0.0.0/8") whose X-Forwarded-For is believed.
	TrustedProxies []string `yaml:"trusted_proxies" env:"TRUSTED_PROXIES"`
	// MaxBodyBytes is the largest request body.
	MaxBodyBytes int64 `yaml:"max_body_bytes" env:"MAX_BODY_BYTES"`
	// ConnectionsPerAddress bounds one client address, trusted proxies excepted.
	ConnectionsPerAddress int `yaml:"connections_per_address" env:"CONNECTIONS_PER_ADDRESS"`
	// ShutdownTimeout is how long requests in work are waited for at the end.
	ShutdownTimeout time.Duration `yaml:"shutdown_timeout" env:"SHUTDOWN_TIMEOUT"`
	// ReadyTimeout is the longest that starting waits for servers' first polls.
	ReadyTimeout time.Duration `yaml:"ready_timeout" env:"READY_TIMEOUT"`

	LogFormat string `yaml:"log_format" env:"LOG_FORMAT"` // json or text
	LogLevel  string `yaml:"log_level" env:"LOG_LEVEL"`   // debug, info, warn or error
	Pprof     bool   `yaml:"pprof" env:"PPROF"`           // profiles on AdminListen

	PollInterval   time.Duration `yaml:"poll_interval" env:"POLL_INTERVAL"`
	PollTimeout    time.Duration `yaml:"poll_timeout" env:"POLL_TIMEOUT"`
	DownAfter      int           `yaml:"down_after" env:"DOWN_AFTER"`
	UpAfter        int           `yaml:"up_after" env:"UP_AFTER"`
	ConnectTimeout time.Duration `yaml:"connect_timeout" env:"CONNECT_TIMEOUT"`
	CreateTimeout  time.Duration `yaml:"create_timeout" env:"CREATE_TIMEOUT"`
	CallTimeout    time.Duration `yaml:"call_timeout" env:"CALL_TIMEOUT"`
	UnknownSettles time.Duration `yaml:"unknown_settles" env:"UNKNOWN_SETTLES"`
	EndingWait     time.Duration `yaml:"ending_wait" env:"ENDING_WAIT"`
	InfoCache      time.Duration `yaml:"info_cache" env:"INFO_CACHE"` // negative: off
	LostAfter      time.Duration `yaml:"lost_after" env:"LOST_AFTER"`
	LostAfterEmpty time.Duration `yaml:"lost_after_empty" env:"LOST_AFTER_EMPTY"`
	StaleAfter     time.Duration `yaml:"stale_after" env:"STALE_AFTER"`
	FeedInterval   time.Duration `yaml:"feed_interval" env:"FEED_INTERVAL"`
	FeedStale      time.Duration `yaml:"feed_stale" env:"FEED_STALE"`
}

// Default returns the configuration of a single node.
func Default() Config {
	return Config{
		Listen:                ":8080",
		AdminListen:           "127.0.0.1:8081",
		DataDir:               "data",
		MaxBodyBytes:          64 << 20,
		ConnectionsPerAddress: 1024,
		ShutdownTimeout:       30 * time.Second,
		ReadyTimeout:          10 * time.Second,
		LogFormat:             "json",
		LogLevel:              "info",
		PollInterval:          10 * time.Second,
		PollTimeout:           5 * time.Second,
		DownAfter:             3,
		UpAfter:               2,
		ConnectTimeout:        2 * time.Second,
		CreateTimeout:         8 * time.Second,
		CallTimeout:           4 * time.Second,
		UnknownSettles:        30 * time.Second,
		EndingWait:            3 * time.Second,
		InfoCache:             time.Second,
		LostAfter:             10 * time.Minute,
		LostAfterEmpty:        90 * time.Second,
		StaleAfter:            10 * time.Minute,
		FeedInterval:          500 * time.Millisecond,
		FeedStale:             2 * time.Second,
	}
}

// Load reads the configuration: defaults, then the file (none with path ""),
// then the environment. An unknown name in the file is an error that says where.
func Load(path string) (Config, error) {
	c := Default()
	if path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return c, fmt.Errorf("read the configuration: %w", err)
		}
		dec := yaml.NewDecoder(bytes.NewReader(text))
		dec.KnownFields(true)
		if err := dec.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
			return c, fmt.Errorf("read the configuration %s: %w", path, plainYAML(err))
		}
	}
	if err := env.ParseWithOptions(&c, env.Options{Prefix: environmentPrefix}); err != nil {
		return c, fmt.Errorf("read the environment: %w", plainEnvironment(err))
	}
	return c, c.check()
}

// environmentPrefix begins the name of every setting in the environment.
const environmentPrefix = "BLUEGATE_"

// UnknownEnvironment returns the names in the environment that look like
// settings and are none. They are no error: Kubernetes adds some of its own
// for a service called bluegate.
func UnknownEnvironment() []string {
	known := map[string]bool{environmentPrefix + "CONFIG": true}
	for f := range reflect.TypeFor[Config]().Fields() {
		known[environmentPrefix+f.Tag.Get("env")] = true
	}
	var unknown []string
	for _, line := range os.Environ() {
		name, value, _ := strings.Cut(line, "=")
		if strings.HasPrefix(name, environmentPrefix) && value != "" && !known[name] {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return unknown
}

// plainEnvironment says what is wrong under the names an operator knows.
func plainEnvironment(err error) error {
	all, ok := errors.AsType[env.AggregateError](err)
	if !ok {
		return err
	}
	var wrong []string
	for _, err := range all.Errors {
		if parse, ok := errors.AsType[env.ParseError](err); ok {
			if f, ok := reflect.TypeFor[Config]().FieldByName(parse.Name); ok {
				err = fmt.Errorf("%s%s: %w", environmentPrefix, f.Tag.Get("env"), parse.Err)
			}
		}
		wrong = append(wrong, err.Error())
	}
	return errors.New(strings.Join(wrong, "; "))
}

// plainYAML says what is wrong in the operator's words, on one line.
func plainYAML(err error) error {
	all, ok := errors.AsType[*yaml.TypeError](err)
	if !ok {
		return err
	}
	plain := strings.NewReplacer("field ", "", " not found in type app.Config", " is no setting",
		"into app.Config", "into settings", "into time.Duration", "into a duration such as 10s")
	return errors.New(plain.Replace(strings.Join(all.Errors, "; ")))
}

func (c Config) check() error {
	switch c.LogFormat {
	case "json", "text":
	default:
		return fmt.Errorf("log_format is %q: use json or text", c.LogFormat)
	}
	if _, err := c.level(); err != nil {
		return err
	}
	if _, err := c.proxies(); err != nil {
		return err
	}
	scheme, _, _ := strings.Cut(c.database(), ":") // what follows may hold a password
	if !slices.Contains([]string{"sqlite", "postgres", "postgresql"}, scheme) {
		return errors.New("database_url must begin with sqlite: or postgres://")
	}
	if c.PublicURL != "" {
		u, err := url.Parse(c.PublicURL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return fmt.Errorf("public_url is %q: use a URL such as https://bbb.example.com", c.PublicURL)
		}
	}
	for name, d := range map[string]time.Duration{
		"poll_interval": c.PollInterval, "poll_timeout": c.PollTimeout, "connect_timeout": c.ConnectTimeout,
		"create_timeout": c.CreateTimeout, "call_timeout": c.CallTimeout, "feed_interval": c.FeedInterval,
		"feed_stale": c.FeedStale, "shutdown_timeout": c.ShutdownTimeout, "ready_timeout": c.ReadyTimeout,
		"unknown_settles": c.UnknownSettles, "ending_wait": c.EndingWait, "lost_after": c.LostAfter,
		"lost_after_empty": c.LostAfterEmpty, "stale_after": c.StaleAfter,
	} {
		if d <= 0 {
			return fmt.Errorf("%s is %s: it must be more than nothing, such as 10s", name, d)
		}
	}
	if c.MaxBodyBytes <= 0 || c.ConnectionsPerAddress <= 0 || c.DownAfter <= 0 || c.UpAfter <= 0 {
		return errors.New("max_body_bytes, connections_per_address, down_after and up_after must be positive")
	}
	return nil
}

func (c Config) proxies() ([]netip.Prefix, error) {
	list := make([]netip.Prefix, 0, len(c.TrustedProxies))
	for _, text := range c.TrustedProxies {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			addr, aerr := netip.ParseAddr(text)
			if aerr != nil {
				return nil, fmt.Errorf("trusted_proxies: %q is no network: use one such as 10.0.0.0/8", text)
			}
			p = netip.PrefixFrom(addr, addr.BitLen())
		}
		list = append(list, p)
	}
	return list, nil
}

// database returns the database's URL.
func (c Config) database() string {
	if c.DatabaseURL != "" {
		return c.DatabaseURL
	}
	path, err := filepath.Abs(filepath.Join(c.DataDir, "bluegate.db"))
	if err != nil {
		path = filepath.Join(c.DataDir, "bluegate.db")
	}
	return "sqlite:" + path
}

// onePlace reports whether the installation is a single node on SQLite.
func (c Config) onePlace() bool { return strings.HasPrefix(c.database(), "sqlite:") }

// BaseURL is the gateway as tenants reach it, without a slash at the end.
func (c Config) BaseURL() string {
	if c.PublicURL != "" {
		return strings.TrimRight(c.PublicURL, "/")
	}
	host := c.Listen
	if strings.HasPrefix(host, ":") {
		host = "localhost" + host
	}
	return "http://" + host
}

// TenantURL is what a tenant's LMS is given.
func (c Config) TenantURL(slug string) string { return c.BaseURL() + "/t/" + slug + "/bigbluebutton/" }

// SharedURL is the URL on which the tenant is found by its secret.
func (c Config) SharedURL() string { return c.BaseURL() + "/bigbluebutton/" }

// Key returns the encryption key. A single node without one gets a new key in a
// file that only its owner can read; made says where.
func (c Config) Key() (key store.Key, made string, err error) {
	switch {
	case c.EncryptionKey != "":
		key, err = store.ParseKey(c.EncryptionKey)
		return key, "", err
	case c.EncryptionKeyFile != "":
		return readKey(c.EncryptionKeyFile)
	case !c.onePlace():
		return key, "", errors.New("there is no encryption key: set encryption_key_file (or BLUEGATE_ENCRYPTION_KEY) " +
			"to the same 32 bytes on every replica; `openssl rand -base64 32` makes one")
	}
	path := filepath.Join(c.DataDir, "encryption.key")
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		return readKey(path)
	}
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return key, "", fmt.Errorf("make the data directory: %w", err)
	}
	key, err = WriteNewKey(path)
	if errors.Is(err, os.ErrExist) { // another process was faster
		return readKey(path)
	}
	if err != nil {
		return key, "", err
	}
	return key, path, nil
}

func readKey(path string) (store.Key, string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return store.Key{}, "", fmt.Errorf("read the encryption key: %w", err)
	}
	key, err := store.ParseKey(string(text))
	if err != nil {
		return store.Key{}, "", fmt.Errorf("%s holds no encryption key: it must be 32 random bytes, in base64 or hexadecimal", path)
	}
	return key, "", nil
}

// WriteNewKey makes an encryption key in a new file that only its owner can read.
func WriteNewKey(path string) (store.Key, error) {
	key := store.NewKey()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return key, fmt.Errorf("write the encryption key: %w", err)
	}
	_, err = f.WriteString(key.Encode() + "\n")
	if err := errors.Join(err, f.Close()); err != nil {
		return key, fmt.Errorf("write the encryption key: %w", err)
	}
	return key, nil
}
