package gateway

import (
	"net/http"
	"strings"
)

// forwardedFor returns the addresses of all X-Forwarded-For headers in order.
func forwardedFor(h http.Header) []string {
	var hops []string
	for _, line := range h.Values("X-Forwarded-For") {
		for hop := range strings.SplitSeq(line, ",") {
			hops = append(hops, strings.TrimSpace(hop))
		}
	}
	return hops
}
