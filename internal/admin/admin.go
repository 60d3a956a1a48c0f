// Package admin is the operators' edge. It listens where tenants can't reach.
package admin

import (
	"net/http"
	"net/http/pprof"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Options wires the operators' listener.
type Options struct {
	Gatherer prometheus.Gatherer
	// Ready reports whether tenants' calls can be answered.
	Ready func() bool
	// Pprof serves Go's profiles under /debug/pprof/.
	Pprof bool
}

// New returns the handler of the operators' listener.
func New(o Options) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.GET("/metrics", gin.WrapH(promhttp.HandlerFor(o.Gatherer, promhttp.HandlerOpts{})))
	e.GET("/healthz", func(c *gin.Context) { c.String(http.StatusOK, "ok\n") })
	e.GET("/readyz", func(c *gin.Context) {
		if !o.Ready() {
			c.String(http.StatusServiceUnavailable, "not ready\n")
			return
		}
		c.String(http.StatusOK, "ok\n")
	})
	if o.Pprof {
		e.GET("/debug/pprof/*name", gin.WrapF(profile))
	}
	return e
}

// profile serves one of Go's profiles by the last part of the path.
func profile(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/debug/pprof/cmdline":
		pprof.Cmdline(w, r)
	case "/debug/pprof/profile":
		pprof.Profile(w, r)
	case "/debug/pprof/symbol":
		pprof.Symbol(w, r)
	case "/debug/pprof/trace":
		pprof.Trace(w, r)
	default:
		pprof.Index(w, r)
	}
}
