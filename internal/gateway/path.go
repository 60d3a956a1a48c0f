package gateway

import "strings"

// parsePath reads a tenant's path: "/t/<slug>" or nothing, then any number of
// "bigbluebutton" and "api" with as many slashes as the LMS puts between them
// (Chamilo: "//bigbluebutton", "bigbluebutton/bigbluebutton",
// "bigbluebutton/api/bigbluebutton"), then the call. A call follows an "api";
// the call "" is the version document. No shape is ever redirected: old clients
// do not follow.
func parsePath(path string) (slug, call string, ok bool) {
	rest := path
	if after, isTenant := strings.CutPrefix(path, "/t/"); isTenant {
		slug, rest, _ = strings.Cut(after, "/")
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
	return slug, call, noise && (api || call == "")
}
