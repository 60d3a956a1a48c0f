package bbb

import (
	"bytes"
	"errors"
	"fmt"
)

// Servers' XML is scanned, not decoded: encoding/xml reads 15 MB/s and throws
// the bytes away that we want to pass on.

// maxDepth bounds how deep elements may nest; BBB's answers reach 7.
const maxDepth = 64

// Errors of scanning.
var (
	errNotXML  = errors.New("not XML")
	errDoctype = errors.New("document type declarations are refused")
	errDeep    = fmt.Errorf("elements nest deeper than %d", maxDepth)
)

// element is a place in scanned bytes: the element from its < to behind its end
// tag, and what is between its tags. Of <name/> the inside is empty and at its end.
type element struct {
	name       []byte
	start, end int
	innerStart int
	innerEnd   int
}

func (el element) selfClosing() bool { return el.innerStart == el.end }

// moved returns the element as it is in bytes that begin by later.
func (el element) moved(by int) element {
	el.start += by
	el.end += by
	el.innerStart += by
	el.innerEnd += by
	return el
}

// scanner walks over the tags of b. Comments, processing instructions, CDATA
// sections and text are passed over.
type scanner struct {
	b    []byte
	pos  int
	open [][]byte // names of the open elements, to be used again
}

type tag struct {
	name        []byte
	start, end  int
	closing     bool // </name>
	selfClosing bool // <name/>
}

// root returns the document's first tag. Before it may stand a byte order mark,
// the declaration and comments.
func (s *scanner) root() (tag, error) {
	t, ok, err := s.next()
	if err != nil {
		return tag{}, err
	}
	if !ok || t.closing || !isMisc(bytes.TrimPrefix(s.b[:t.start], []byte("\xef\xbb\xbf"))) {
		return tag{}, errNotXML
	}
	return t, nil
}

// finish checks that the document ends here. A second one behind it, as bbb-web
// writes when its API is disabled, is no XML.
func (s *scanner) finish() error {
	if !isMisc(s.b[s.pos:]) {
		return errNotXML
	}
	return nil
}

// isMisc reports whether b is nothing but white space, comments and processing
// instructions.
func isMisc(b []byte) bool {
	for {
		b = bytes.TrimLeft(b, spaces)
		from, stop := 0, ""
		switch {
		case len(b) == 0:
			return true
		case bytes.HasPrefix(b, []byte("<?")):
			from, stop = 2, "?>"
		case bytes.HasPrefix(b, []byte("<!--")):
			from, stop = 4, "-->"
		default:
			return false
		}
		end, err := endOf(b, from, stop)
		if err != nil {
			return false
		}
		b = b[end:]
	}
}

// next returns the next tag; ok is false at the end of the bytes.
func (s *scanner) next() (t tag, ok bool, err error) {
	for {
		i := bytes.IndexByte(s.b[s.pos:], '<')
		if i < 0 {
			s.pos = len(s.b)
			return tag{}, false, nil
		}
		start := s.pos + i
		rest := s.b[start:]
		if len(rest) < 2 {
			return tag{}, false, errNotXML
		}
		skip := 0
		switch rest[1] {
		case '?':
			skip, err = endOf(rest, 2, "?>")
		case '!':
			switch {
			case bytes.HasPrefix(rest, []byte("<!--")):
				skip, err = endOf(rest, 4, "-->")
			case bytes.HasPrefix(rest, []byte("<![CDATA[")):
				skip, err = endOf(rest, 9, "]]>")
			default:
				err = errDoctype
			}
		}
		if err != nil {
			return tag{}, false, err
		}
		if skip > 0 {
			s.pos = start + skip
			continue
		}
		t, err = readTag(rest)
		if err != nil {
			return tag{}, false, err
		}
		t.start, t.end = start, start+t.end
		s.pos = t.end
		return t, true, nil
	}
}

// endOf returns where the first stop behind b[from:] ends.
func endOf(b []byte, from int, stop string) (int, error) {
	i := bytes.Index(b[from:], []byte(stop))
	if i < 0 {
		return 0, errNotXML
	}
	return from + i + len(stop), nil
}

// readTag reads the tag that b begins with; its end is relative to b.
func readTag(b []byte) (tag, error) {
	var t tag
	i := 1
	if b[i] == '/' {
		t.closing = true
		i++
	}
	nameStart := i
	for i < len(b) && !isSpace(b[i]) && b[i] != '>' && b[i] != '/' && b[i] != '<' {
		i++
	}
	t.name = b[nameStart:i]
	if len(t.name) == 0 {
		return t, errNotXML
	}
	for i < len(b) {
		switch b[i] {
		case '>':
			t.selfClosing = b[i-1] == '/'
			t.end = i + 1
			if t.closing && t.selfClosing {
				return t, errNotXML
			}
			return t, nil
		case '"', '\'':
			j := bytes.IndexByte(b[i+1:], b[i])
			if j < 0 {
				return t, errNotXML
			}
			i += j + 1
		case '<':
			return t, errNotXML
		case '/':
			if i+1 < len(b) && b[i+1] != '>' {
				return t, errNotXML
			}
		}
		i++
	}
	return t, errNotXML
}

const spaces = " \n\t\r"

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// whole returns the element whose start tag was just read, passing over its inside.
func (s *scanner) whole(t tag) (element, error) {
	el := element{name: t.name, start: t.start, end: t.end, innerStart: t.end, innerEnd: t.end}
	if t.selfClosing {
		return el, nil
	}
	var err error
	el.innerEnd, err = s.close(t.name)
	el.end = s.pos
	return el, err
}

// close passes over everything up to the end tag of the open element called
// name, checks that all tags between are balanced, and returns where the end
// tag starts.
func (s *scanner) close(name []byte) (int, error) {
	open := append(s.open[:0], name)
	for {
		t, ok, err := s.next()
		if err != nil {
			return 0, err
		}
		switch {
		case !ok:
			return 0, errNotXML
		case t.closing:
			last := len(open) - 1
			if !bytes.Equal(open[last], t.name) {
				return 0, errNotXML
			}
			if last == 0 {
				s.open = open
				return t.start, nil
			}
			open = open[:last]
		case !t.selfClosing:
			if len(open) == maxDepth {
				return 0, errDeep
			}
			open = append(open, t.name)
		}
	}
}

// elements appends all elements up to the end tag of their parent to into and
// returns where that end tag starts. With parent == nil they reach to the end of
// the bytes.
func (s *scanner) elements(into []element, parent []byte) ([]element, int, error) {
	for {
		t, ok, err := s.next()
		switch {
		case err != nil:
			return nil, 0, err
		case !ok && parent == nil:
			return into, len(s.b), nil
		case !ok, t.closing && !bytes.Equal(t.name, parent):
			return nil, 0, errNotXML
		case t.closing:
			return into, t.start, nil
		}
		el, err := s.whole(t)
		if err != nil {
			return nil, 0, err
		}
		into = append(into, el)
	}
}
