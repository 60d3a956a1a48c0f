package app

import (
	"net/http"
	"time"
)

// SetClock gives the gateway another clock, before Start.
func (a *App) SetClock(now func() time.Time) { a.now = now }

// Tune changes the bounds of both listeners' servers, before Start.
func (a *App) Tune(tune func(*http.Server)) { a.tune = tune }

// CloseStore takes the database away under a ready app, for good: every
// statement fails from now on, as it does when a disk breaks. A SQLite file
// can't be taken away from outside: the process goes on with its open file.
func (a *App) CloseStore() error { return a.parts.Load().store.Close() }
