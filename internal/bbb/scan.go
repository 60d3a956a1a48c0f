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
// tag, and what is between its tags.
type element struct {
	name       string
	start, end int
	innerStart int
	innerEnd   int
}

// scanner walks over the tags of b. Comments, processing instructions, CDATA
// sections and text are passed over.
type scanner struct {
	b   []byte
	pos int
}

type tag struct {
	name        []byte
	start, end  int
	closing     bool // </name>
	selfClosing bool // <name/>
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
		}
		i++
	}
	return t, errNotXML
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// whole returns the element whose start tag was just read, passing over its inside.
func (s *scanner) whole(t tag) (element, error) {
	el := element{name: string(t.name), start: t.start, end: t.end, innerStart: t.end, innerEnd: t.end}
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
	var stack [maxDepth][]byte
	depth := 0
	for {
		t, ok, err := s.next()
		if err != nil {
			return 0, err
		}
		if !ok {
			return 0, errNotXML
		}
		switch {
		case t.closing && depth == 0:
			if !bytes.Equal(t.name, name) {
				return 0, errNotXML
			}
			return t.start, nil
		case t.closing:
			depth--
			if !bytes.Equal(stack[depth], t.name) {
				return 0, errNotXML
			}
		case !t.selfClosing:
			if depth == maxDepth {
				return 0, errDeep
			}
			stack[depth] = t.name
			depth++
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
