package gateway

import (
	"net/http"
	"sync"
	"time"
)

// Law 4 from one call to the next. After an answer to getMeetingInfo that is no
// XML, Chamilo 1.10 to 1.11.32 at once asks again with a number of its own, which
// is no meeting, and ends the class when it is told so (T46). By then we may know
// again: for a moment that must make no difference.

const (
	// unsureFor is how long after an answer that we can't know no meeting is denied.
	unsureFor = 5 * time.Second
	// unsureSize bounds how many callers are remembered; beyond it, those whose
	// moment has passed make room, and without any the new one is not remembered.
	unsureSize = 16384
)

// unsure remembers who was told a moment ago that we can't know: tenants, and
// addresses of callers that could not be identified.
type unsure struct {
	now func() time.Time
	mu  sync.Mutex
	m   map[string]time.Time
}

func newUnsure(now func() time.Time) *unsure {
	return &unsure{now: now, m: map[string]time.Time{}}
}

// check takes note of an answer to getMeetingInfo, and reports whether it denies a
// meeting too soon after one that we could not know: LMSs end a class whatever
// the messageKey is (an expired secret's is checksumError). address is asked for
// only if the tenant is not known or the meeting is denied.
func (u *unsure) check(a answer, tenant string, address func() string) (tooSoon bool) {
	cannotKnow, denied := a.status == http.StatusServiceUnavailable, a.result == "failed" || a.result == "denied"
	if !cannotKnow && !denied {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if denied {
		return u.recent(tenant) || u.recent(address())
	}
	if tenant == "" {
		tenant = address()
	}
	if len(u.m) >= unsureSize {
		for key := range u.m {
			if !u.recent(key) {
				delete(u.m, key)
			}
		}
	}
	if len(u.m) < unsureSize {
		u.m[tenant] = u.now()
	}
	return false
}

func (u *unsure) recent(key string) bool {
	at, ok := u.m[key]
	return ok && u.now().Sub(at) < unsureFor
}
