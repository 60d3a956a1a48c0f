package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRun(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	result := make(chan error, 1)
	go func() {
		result <- run(ctx, []string{"--listen", "127.0.0.1:0", "--servers", "2", "--secret", "S", "--profile", "2.4"}, writer, io.Discard)
	}()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	lines := bufio.NewScanner(reader)
	for _, name := range []string{"bbb1", "bbb2"} {
		if !lines.Scan() {
			t.Fatal("no line")
		}
		fields := strings.Fields(lines.Text())
		if len(fields) != 4 || fields[0] != name || fields[2] != "secret=S" || !strings.HasSuffix(fields[3], "/_sim/") {
			t.Fatalf("line %q", lines.Text())
		}
		response, err := client.Get(strings.TrimPrefix(fields[1], "url=") + "api")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || !bytes.Contains(body, []byte("<version>2.0</version>")) || bytes.Contains(body, []byte("graphql")) {
			t.Errorf("%v: %s", err, body)
		}
	}
	stop()
	if err := <-result; err != nil {
		t.Error(err)
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"--profile 2.7", "--servers 0", "--servers 1001", "--speed 0", "--speed NaN", "extra", "--listen nonsense",
		"--listen 127.0.0.1:x", "--listen 127.0.0.1:65536", "--nonsense",
	} {
		ctx, stop := context.WithCancel(t.Context())
		stop()
		if err := run(ctx, strings.Fields(line), io.Discard, io.Discard); err == nil {
			t.Errorf("%s: no error", line)
		}
	}
	if err := run(t.Context(), []string{"-h"}, io.Discard, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("help: %v", err)
	}
}

func TestNthAddress(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		listen string
		n      int
		want   string
	}{
		{"127.0.0.1:8090", 0, "127.0.0.1:8090"},
		{"127.0.0.1:8090", 3, "127.0.0.1:8093"},
		{"127.0.0.1:0", 3, "127.0.0.1:0"},
		{"[::1]:8090", 1, "[::1]:8091"},
		{":8090", 1, ":8091"},
	} {
		if got, err := nthAddress(test.listen, test.n); got != test.want || err != nil {
			t.Errorf("%+v: %q %v", test, got, err)
		}
	}
	if _, err := nthAddress("127.0.0.1:65535", 1); !errors.Is(err, errUsage) {
		t.Errorf("got %v", err)
	}
}
