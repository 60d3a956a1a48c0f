package meeting

import (
	"sync"
	"time"
)

// room is what a tenant calls by one external ID.
type room struct {
	tenantID   int64
	externalID string
}

// route is what this replica knows of one live or lost claim.
type route struct {
	Claim
	// known numbers the moments at which routes of this replica changed; a poll
	// can only judge a claim that was known in its present state before it was sent.
	known int64
	// since is when this replica first saw the claim in its present state; of an
	// unanswered one, when it saw the last change.
	since time.Time
	// first is when this replica first saw the claim.
	first time.Time
	// people is how many the last snapshot listed in the meeting; -1 when this
	// replica has seen none.
	people int
}

// routes are the live and lost claims this replica knows: positive knowledge
// only, each entry newer than the one before it. Final claims are remembered
// for a while, so that an older reading of the row cannot bring them back.
type routes struct {
	mu       sync.RWMutex
	byRoom   map[room]*route
	byIntID  map[string]*route
	byServer map[int64]map[int64]*route // server, claim
	byTenant map[int64]map[int64]*route // tenant, claim
	byExtID  map[string]map[int64]int   // external ID, tenants with how many claims
	byID     map[int64]*route
	final    map[int64]int64 // claim, seq
	moment   int64
	high     int64 // the highest Seq applied
}

func newRoutes() *routes {
	return &routes{
		byRoom:   map[room]*route{},
		byIntID:  map[string]*route{},
		byServer: map[int64]map[int64]*route{},
		byTenant: map[int64]map[int64]*route{},
		byExtID:  map[string]map[int64]int{},
		byID:     map[int64]*route{},
		final:    map[int64]int64{},
	}
}

// apply takes over a reading of a claim's row unless a newer one is known.
func (r *routes) apply(c Claim, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.high = max(r.high, c.Seq)
	if seq, ok := r.final[c.ID]; ok && seq >= c.Seq {
		return
	}
	old := r.byID[c.ID]
	if old != nil && old.Seq >= c.Seq {
		return
	}
	r.moment++
	next := &route{Claim: c, known: r.moment, since: now, first: now, people: -1}
	if old != nil {
		// An unanswered claim changes when its create is sent again: from then on
		// its outcome is awaited anew.
		if old.State == c.State && c.State != Claimed && c.State != Unknown {
			next.since, next.known = old.since, old.known
		}
		next.first, next.people = old.first, old.people
		r.remove(old)
	}
	if c.State.Final() {
		r.final[c.ID] = c.Seq
		return
	}
	// One claim of a room is live. When there is a later one, of an earlier one's
	// end we had not heard yet.
	if e := r.byRoom[room{c.TenantID, c.ExternalID}]; e != nil {
		switch {
		case e.Generation < c.Generation && e.State.Live():
			r.remove(e)
			r.final[e.ID] = e.Seq
		case e.Generation > c.Generation && c.State.Live():
			r.final[c.ID] = c.Seq
			return
		}
	}
	r.add(next)
}

// drop forgets a claim that, as SQL says, is neither live nor lost any more,
// unless something newer than c is known of it.
func (r *routes) drop(c Claim) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.byID[c.ID]
	if old == nil || old.Seq > c.Seq {
		return
	}
	r.moment++
	r.remove(old)
	r.final[c.ID] = c.Seq
}

// overlay replaces what is known of a claim although its row could not be
// written: the row's Seq stays, so that the next reading of a change wins.
func (r *routes) overlay(c Claim, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.byID[c.ID]
	if old == nil || old.Seq != c.Seq {
		return
	}
	r.remove(old)
	r.moment++
	r.add(&route{Claim: c, known: r.moment, since: now, first: old.first, people: old.people})
}

func (r *routes) add(e *route) {
	r.byID[e.ID] = e
	key := room{e.TenantID, e.ExternalID}
	if cur := r.byRoom[key]; cur == nil || cur.Generation <= e.Generation {
		r.byRoom[key] = e
	}
	if e.InternalID != "" {
		r.byIntID[e.InternalID] = e
	}
	put(r.byServer, e.ServerID, e)
	put(r.byTenant, e.TenantID, e)
	owners := r.byExtID[e.ExternalID]
	if owners == nil {
		owners = map[int64]int{}
		r.byExtID[e.ExternalID] = owners
	}
	owners[e.TenantID]++
}

func (r *routes) remove(e *route) {
	delete(r.byID, e.ID)
	if r.byIntID[e.InternalID] == e {
		delete(r.byIntID, e.InternalID)
	}
	drop(r.byServer, e.ServerID, e)
	drop(r.byTenant, e.TenantID, e)
	owners := r.byExtID[e.ExternalID]
	if owners[e.TenantID]--; owners[e.TenantID] <= 0 {
		delete(owners, e.TenantID)
	}
	if len(owners) == 0 {
		delete(r.byExtID, e.ExternalID)
	}
	key := room{e.TenantID, e.ExternalID}
	if r.byRoom[key] != e {
		return
	}
	delete(r.byRoom, key)
	for _, other := range r.byTenant[e.TenantID] { // an older generation may remain
		if other.ExternalID != e.ExternalID {
			continue
		}
		if cur := r.byRoom[key]; cur == nil || cur.Generation < other.Generation {
			r.byRoom[key] = other
		}
	}
}

func put(m map[int64]map[int64]*route, key int64, e *route) {
	if m[key] == nil {
		m[key] = map[int64]*route{}
	}
	m[key][e.ID] = e
}

func drop(m map[int64]map[int64]*route, key int64, e *route) {
	delete(m[key], e.ID)
	if len(m[key]) == 0 {
		delete(m, key)
	}
}

// find returns the tenant's claim by external ID, else by internal ID.
func (r *routes) find(tenantID int64, id string) (route, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if e := r.byRoom[room{tenantID, id}]; e != nil {
		return *e, true
	}
	if e := r.byIntID[id]; e != nil && e.TenantID == tenantID {
		return *e, true
	}
	return route{}, false
}

// overtaken reports whether a later claim of the same room has its meeting: a
// lost one has nothing to come back to.
func (r *routes) overtaken(c Claim) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	e := r.byRoom[room{c.TenantID, c.ExternalID}]
	return e != nil && e.Generation > c.Generation && (e.State == Running || e.State == Ending)
}

// sawPeople records how many a snapshot lists in a claim's meeting.
func (r *routes) sawPeople(id int64, people int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.byID[id]; e != nil {
		e.people = people
	}
}

func (r *routes) byClaim(id int64) (route, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if e := r.byID[id]; e != nil {
		return *e, true
	}
	return route{}, false
}

func (r *routes) onServer(serverID int64) []route {
	return r.list(r.byServer, serverID)
}

func (r *routes) ofTenant(tenantID int64) []route {
	return r.list(r.byTenant, tenantID)
}

func (r *routes) list(index map[int64]map[int64]*route, key int64) []route {
	r.mu.RLock()
	defer r.mu.RUnlock()
	list := make([]route, 0, len(index[key]))
	for _, e := range index[key] {
		list = append(list, *e)
	}
	return list
}

// owners returns tenants that own a live meeting of that external or internal ID.
func (r *routes) owners(id string, most int) []int64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var ids []int64
	if e := r.byIntID[id]; e != nil {
		ids = append(ids, e.TenantID)
	}
	for tenantID := range r.byExtID[id] {
		if len(ids) == most {
			break
		}
		ids = append(ids, tenantID)
	}
	return ids
}

// now numbers the present moment: what is applied later has a greater number.
func (r *routes) now() int64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.moment
}

// highest returns the highest Seq that was ever applied.
func (r *routes) highest() int64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.high
}

func (r *routes) seen(id, seq int64) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if e := r.byID[id]; e != nil {
		return e.Seq >= seq
	}
	return r.final[id] >= seq
}

// forget drops the memory of final claims whose last change is at or below seq.
func (r *routes) forget(seq int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, s := range r.final {
		if s <= seq {
			delete(r.final, id)
		}
	}
}
