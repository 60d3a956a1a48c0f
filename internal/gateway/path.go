package gateway

import "strings"

// parsePath reads a tenant's path: "t/<slug>" or nothing, then any number of
// "bigbluebutton" and "api", with as many slashes around all of it as the LMS
// puts there (Chamilo: "//bigbluebutton", "bigbluebutton/bigbluebutton",
// "bigbluebutton/api/bigbluebutton"), then the call. A call follows an "api";
// the call "" is the version document, and noCall is where a tenant's path leads
// to neither. No shape is ever redirected: old clients do not follow. ok is
// false for a path that is nobody's.
func parsePath(path string) (slug, call string, ok bool) {
	rest := strings.TrimLeft(path, "/")
	if after, isTenant := strings.CutPrefix(rest, "t/"); isTenant {
		slug, rest, _ = strings.Cut(strings.TrimLeft(after, "/"), "/")
		if slug == "" {
			return "", "", false
		}
	}
	api, noise := false, false
	for {
		rest = strings.TrimLeft(rest, "/")
		segment, tail, _ := strings.Cut(rest, "/")
		if segment != "bigbluebutton" && segment != "api" {
			break
		}
		api, noise, rest = segment == "api", true, tail
	}
	call = strings.TrimRight(rest, "/")
	if !noise && slug == "" {
		return "", "", false
	}
	if !noise || !api && call != "" {
		call = noCall
	}
	return slug, call, true
}

// noCall is the name of a call that there is not.
const noCall = "?"
