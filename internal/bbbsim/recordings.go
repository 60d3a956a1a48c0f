package bbbsim

// Answers of the calls on recordings, of which this server has none. The bodies
// are string literals of the original, with its indentation (BBB API, recordings).
const (
	noRecordings = `<response>
          <returncode>SUCCESS</returncode>
          <recordings></recordings>
          <messageKey>noRecordings</messageKey>
          <message>There are no recordings for the meeting(s).</message>
        </response>`

	textRecordingChecksum = "You did not pass the checksum security check"
)

// recordingCall serves the calls of the controller of recordings, which checks in
// an order of its own: parameters before a wrong checksum.
func (s *Server) recordingCall(req *apiRequest, verified bool) answer {
	wrong := failureAnswer(req, failure{keyChecksum, textRecordingChecksum})
	if req.call == "getRecordings" {
		if !verified {
			return wrong
		}
		return xmlAnswer([]byte(noRecordings), false)
	}
	switch {
	case req.params.get("checksum") == "":
		return wrong
	case req.params.get("recordID") == "":
		return failureAnswer(req, failure{"missingParamRecordID", "You must specify a recordID."})
	case req.call == "publishRecordings" && req.params.get("publish") == "":
		return failureAnswer(req, failure{"missingParamPublish", "You must specify a publish value true or false."})
	case !verified:
		return wrong
	}
	return failureAnswer(req, failure{keyNotFound, "We could not find recordings"})
}
