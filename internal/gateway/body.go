package gateway

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"sync"

	"github.com/bluegate/bluegate/internal/fault"
	"github.com/bluegate/bluegate/internal/meeting"
)

// bodies reads request bodies fully before anything is done with them: into
// memory up to memoryBody, then into a temporary file.
type bodies struct {
	limit int64  // bytes of one body
	dir   string // of temporary files; "" for the system's

	mu       sync.Mutex
	inFlight map[int64]int // tenant, bodies
}

const (
	memoryBody = 1 << 20
	// tenantBodies is how many bodies of one tenant may be in work at once.
	tenantBodies = 8
)

// read returns the body of a create, nil when there is none or when it is no
// XML document, and a function that lets go of it. Errors: fault.Invalid for one
// that is too large or breaks off, fault.Unavailable when the tenant has too
// many in work.
func (b *bodies) read(r *http.Request, tenantID int64) (*meeting.Body, func(), error) {
	nothing := func() {}
	if r.Method != http.MethodPost || r.Body == nil || r.ContentLength == 0 {
		return nil, nothing, nil
	}
	if r.ContentLength > b.limit {
		return nil, nothing, errBodyLarge
	}
	if !b.enter(tenantID) {
		return nil, nothing, errManyBodies
	}
	done := func() { b.leave(tenantID) }
	var buf bytes.Buffer
	limited := &io.LimitedReader{R: r.Body, N: b.limit + 1}
	n, err := buf.ReadFrom(io.LimitReader(limited, memoryBody))
	if err != nil {
		done()
		return nil, nothing, fault.Wrap(fault.Invalid, errBodyCut.Key, errBodyCut.Message, err)
	}
	if n > b.limit {
		done()
		return nil, nothing, errBodyLarge
	}
	if !isXML(buf.Bytes()) {
		done()
		return nil, nothing, nil
	}
	if n < memoryBody {
		return &meeting.Body{
			Open: func() (io.Reader, error) { return bytes.NewReader(buf.Bytes()), nil },
			Size: n, ContentType: xmlType(r),
		}, done, nil
	}
	file, size, err := b.spill(buf.Bytes(), limited)
	if err != nil {
		done()
		return nil, nothing, err
	}
	body := &meeting.Body{
		Open: func() (io.Reader, error) { return io.NewSectionReader(file, 0, size), nil },
		Size: size, ContentType: xmlType(r),
	}
	return body, func() {
		_ = file.Close()
		done()
	}, nil
}

// spill writes a large body into a file that has no name any more: it goes with
// the process, whatever happens.
func (b *bodies) spill(head []byte, rest *io.LimitedReader) (*os.File, int64, error) {
	file, err := os.CreateTemp(b.dir, "bluegate-body-*")
	if err != nil {
		return nil, 0, fault.Wrap(fault.Unavailable, errManyBodies.Key, errManyBodies.Message, err)
	}
	_ = os.Remove(file.Name())
	n, err := io.Copy(file, io.MultiReader(bytes.NewReader(head), rest))
	switch {
	case err != nil && errors.Is(err, io.ErrUnexpectedEOF):
		err = fault.Wrap(fault.Invalid, errBodyCut.Key, errBodyCut.Message, err)
	case err != nil:
		err = fault.Wrap(fault.Unavailable, errManyBodies.Key, errManyBodies.Message, err)
	case n > b.limit:
		err = errBodyLarge
	}
	if err != nil {
		_ = file.Close()
		return nil, 0, err
	}
	return file, n, nil
}

func (b *bodies) enter(tenantID int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.inFlight[tenantID] >= tenantBodies {
		return false
	}
	if b.inFlight == nil {
		b.inFlight = map[int64]int{}
	}
	b.inFlight[tenantID]++
	return true
}

func (b *bodies) leave(tenantID int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.inFlight[tenantID]--; b.inFlight[tenantID] <= 0 {
		delete(b.inFlight, tenantID)
	}
}

// isXML tells a <modules> document from form fields by its first character:
// clients send it under any content type, or none.
func isXML(b []byte) bool {
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	b = bytes.TrimLeft(b, " \r\n\t")
	return len(b) > 0 && b[0] == '<'
}

// xmlType is the content type a body is forwarded with: the client's own if it
// says XML (with its charset), else XML.
func xmlType(r *http.Request) string {
	given := r.Header.Get("Content-Type")
	switch kind, _, _ := mime.ParseMediaType(given); kind {
	case "application/xml", "text/xml":
		return given
	}
	return "application/xml"
}
