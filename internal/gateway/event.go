package gateway

import (
	"context"
	"log/slog"
	"time"
)

// event is the one log line of a request. It never holds a secret, a checksum,
// a password, a name or a signed URL (law 8).
type event struct {
	began  time.Time
	call   string
	tenant string // slug, once the caller is known
	reason string // why a caller was not identified
	cause  error  // what is behind a failure
	answer answer
	bytes  int
}

func (g *Gateway) logEvent(ctx context.Context, method string, e *event) {
	level := slog.LevelInfo
	if e.answer.result == "error" {
		level = slog.LevelWarn
	}
	if !g.log.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 14)
	attrs = append(attrs,
		slog.String("tenant", e.tenant),
		slog.String("call", e.call),
		slog.String("method", method),
		slog.String("result", e.answer.result),
		slog.Int("status", e.answer.status),
		slog.Float64("duration_ms", float64(g.now().Sub(e.began).Microseconds())/1000),
		slog.Int("bytes", e.bytes),
	)
	if e.answer.key != "" {
		attrs = append(attrs, slog.String("key", e.answer.key))
	}
	if e.reason != "" {
		attrs = append(attrs, slog.String("reason", e.reason))
	}
	if e.answer.serverID != 0 {
		attrs = append(attrs, slog.String("server", g.serverName(e.answer.serverID)))
	}
	if e.answer.stale {
		attrs = append(attrs, slog.Bool("stale", true))
	}
	if e.answer.coalesced {
		attrs = append(attrs, slog.Bool("coalesced", true))
	}
	if e.cause != nil {
		attrs = append(attrs, slog.String("cause", e.cause.Error()))
	}
	g.log.LogAttrs(ctx, level, "call", attrs...)
}
