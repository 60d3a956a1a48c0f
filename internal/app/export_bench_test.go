package app

import "net/http"

// Handler is what answers tenants, without the network around it.
func (a *App) Handler() http.Handler { return a.gateway.Load() }
