package bbb

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Fields is a run of sibling elements in their original bytes: what stands
// inside <response> or <meeting>. Changing one returns new bytes in which only
// that element differs; everything unknown survives in its place.
type Fields struct {
	raw []byte
	els []element
}

// ParseFields scans a run of sibling elements. Raw is kept, not copied.
func ParseFields(raw []byte) (Fields, error) {
	s := scanner{b: raw}
	els, _, err := s.elements(make([]element, 0, 32), nil)
	if err != nil {
		return Fields{}, fmt.Errorf("scan XML: %w", err)
	}
	return Fields{raw: raw, els: els}, nil
}

// Bytes returns the run's bytes. They must not be changed.
func (f Fields) Bytes() []byte { return f.raw }

func (f Fields) find(name string) (element, bool) {
	for _, el := range f.els {
		if el.name == name {
			return el, true
		}
	}
	return element{}, false
}

// Has reports whether there is an element of that name.
func (f Fields) Has(name string) bool {
	_, ok := f.find(name)
	return ok
}

// Text returns the text of the first element of that name, unescaped; "" when
// there is none.
func (f Fields) Text(name string) string {
	el, ok := f.find(name)
	if !ok {
		return ""
	}
	return unescapeXML(f.raw[el.innerStart:el.innerEnd])
}

// Int returns an element's number; 0 when it is missing or none. BBB's locale
// grouping ("1,234") is understood.
func (f Fields) Int(name string) int64 {
	el, ok := f.find(name)
	if !ok {
		return 0
	}
	var n int64
	for _, c := range bytes.TrimSpace(f.raw[el.innerStart:el.innerEnd]) {
		switch {
		case '0' <= c && c <= '9' && n < 1<<58:
			n = n*10 + int64(c-'0')
		case c == ',':
		default:
			return 0
		}
	}
	return n
}

// Bool reports whether an element's text is "true".
func (f Fields) Bool(name string) bool {
	el, ok := f.find(name)
	return ok && string(bytes.TrimSpace(f.raw[el.innerStart:el.innerEnd])) == "true"
}

// Sub returns the elements inside the first element of that name; none when it
// is missing.
func (f Fields) Sub(name string) (Fields, error) {
	el, ok := f.find(name)
	if !ok {
		return Fields{}, nil
	}
	return ParseFields(f.raw[el.innerStart:el.innerEnd])
}

// With returns the run with the text of the first element of that name replaced;
// the run itself when there is none.
func (f Fields) With(name, text string) Fields {
	return f.withInner(name, AppendEscaped(nil, text))
}

func (f Fields) withInner(name string, inner []byte) Fields {
	for i, el := range f.els {
		if el.name != name {
			continue
		}
		b := make([]byte, 0, len(f.raw)+len(inner)+2*len(name)+5)
		b = append(b, f.raw[:el.start]...)
		b = append(b, '<')
		b = append(b, name...)
		b = append(b, '>')
		start := len(b)
		b = append(b, inner...)
		end := len(b)
		b = append(b, '<', '/')
		b = append(b, name...)
		b = append(b, '>')
		out := Fields{els: append([]element(nil), f.els...)}
		shift := len(b) - el.end
		out.raw = append(b, f.raw[el.end:]...)
		out.els[i] = element{name: name, start: el.start, innerStart: start, innerEnd: end, end: el.end + shift}
		out.shift(i+1, shift)
		return out
	}
	return f
}

// Without returns the run without the elements of that name and the white space
// before them.
func (f Fields) Without(name string) Fields {
	for i, el := range f.els {
		if el.name != name {
			continue
		}
		start := len(bytes.TrimRight(f.raw[:el.start], " \n\t\r"))
		b := make([]byte, 0, len(f.raw))
		b = append(append(b, f.raw[:start]...), f.raw[el.end:]...)
		out := Fields{raw: b, els: append(append([]element(nil), f.els[:i]...), f.els[i+1:]...)}
		out.shift(i, start-el.end)
		return out.Without(name)
	}
	return f
}

// WithoutIn returns the run with the elements called child taken out of the
// first element called parent.
func (f Fields) WithoutIn(parent, child string) Fields {
	sub, err := f.Sub(parent)
	if err != nil || !sub.Has(child) {
		return f
	}
	return f.withInner(parent, sub.Without(child).raw)
}

func (f Fields) shift(from, by int) {
	for i := from; i < len(f.els); i++ {
		f.els[i].start += by
		f.els[i].end += by
		f.els[i].innerStart += by
		f.els[i].innerEnd += by
	}
}

// Answer is a server's XML answer in its original bytes.
type Answer struct {
	head, tail []byte
	Fields
}

// ParseAnswer scans an answer: one root element, whatever its name. Document
// types, unbalanced tags and deep nesting are errors. Body is kept, not copied.
func ParseAnswer(body []byte) (Answer, error) {
	s := scanner{b: body}
	root, ok, err := s.next()
	if err == nil && (!ok || root.closing || len(bytes.TrimSpace(withoutProlog(body[:root.start]))) > 0) {
		err = errNotXML
	}
	if err != nil {
		return Answer{}, fmt.Errorf("scan XML: %w", err)
	}
	if root.selfClosing {
		return Answer{head: body[:root.end], tail: body[root.end:]}, nil
	}
	els, end, err := s.elements(make([]element, 0, 32), root.name)
	if err != nil {
		return Answer{}, fmt.Errorf("scan XML: %w", err)
	}
	for i := range els {
		els[i].start -= root.end
		els[i].end -= root.end
		els[i].innerStart -= root.end
		els[i].innerEnd -= root.end
	}
	return Answer{head: body[:root.end], tail: body[end:], Fields: Fields{raw: body[root.end:end], els: els}}, nil
}

// withoutProlog cuts what may stand before a root element: a byte order mark,
// the declaration, comments.
func withoutProlog(b []byte) []byte {
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	for {
		b = bytes.TrimSpace(b)
		stop := ""
		switch {
		case bytes.HasPrefix(b, []byte("<?")):
			stop = "?>"
		case bytes.HasPrefix(b, []byte("<!--")):
			stop = "-->"
		default:
			return b
		}
		i := bytes.Index(b, []byte(stop))
		if i < 0 {
			return b
		}
		b = b[i+len(stop):]
	}
}

// Bytes returns the whole answer.
func (a Answer) Bytes() []byte {
	b := make([]byte, 0, len(a.head)+len(a.raw)+len(a.tail))
	b = append(b, a.head...)
	b = append(b, a.raw...)
	return append(b, a.tail...)
}

// Edit returns the answer with its fields put through edit.
func (a Answer) Edit(edit func(Fields) Fields) Answer {
	a.Fields = edit(a.Fields)
	return a
}

// Success reports whether the returncode is SUCCESS.
func (a Answer) Success() bool { return a.Text("returncode") == "SUCCESS" }

// Failed reports whether the returncode is FAILED.
func (a Answer) Failed() bool { return a.Text("returncode") == "FAILED" }

// Key returns the messageKey, also from the list form that BBB uses for
// nonUniqueVoiceBridge.
func (a Answer) Key() string {
	if key := a.Text("messageKey"); key != "" {
		return key
	}
	errs, err := a.Sub("errors")
	if err != nil {
		return ""
	}
	first, err := errs.Sub("error")
	if err != nil {
		return ""
	}
	return first.Text("key")
}

// AppendEscaped appends text with the five XML characters escaped as BBB does,
// and without the characters that XML 1.0 can't hold.
func AppendEscaped(b []byte, text string) []byte {
	for _, r := range text {
		switch {
		case r == '&':
			b = append(b, "&amp;"...)
		case r == '<':
			b = append(b, "&lt;"...)
		case r == '>':
			b = append(b, "&gt;"...)
		case r == '"':
			b = append(b, "&quot;"...)
		case r == '\'':
			b = append(b, "&apos;"...)
		case r < ' ' && r != '\n' && r != '\t' && r != '\r', r == 0xFFFE, r == 0xFFFF:
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return b
}

// unescapeXML returns the text of an element's inside: entities and CDATA
// sections resolved, an unknown entity left as it is.
func unescapeXML(b []byte) string {
	if bytes.IndexByte(b, '&') < 0 && bytes.IndexByte(b, '<') < 0 {
		return string(b)
	}
	var out strings.Builder
	for len(b) > 0 {
		i := bytes.IndexAny(b, "&<")
		if i < 0 {
			out.Write(b)
			break
		}
		out.Write(b[:i])
		b = b[i:]
		if b[0] == '<' {
			b = unwrapCDATA(&out, b)
			continue
		}
		end := bytes.IndexByte(b, ';')
		text := ""
		if end > 0 {
			text = entity(string(b[1:end]))
		}
		if text == "" {
			out.WriteByte('&')
			b = b[1:]
			continue
		}
		out.WriteString(text)
		b = b[end+1:]
	}
	return out.String()
}

// unwrapCDATA writes the CDATA section that b begins with, or passes over a tag
// or comment, and returns what follows.
func unwrapCDATA(out *strings.Builder, b []byte) []byte {
	if bytes.HasPrefix(b, []byte("<![CDATA[")) {
		if end := bytes.Index(b, []byte("]]>")); end > 0 {
			out.Write(b[9:end])
			return b[end+3:]
		}
	}
	if end := bytes.IndexByte(b, '>'); end > 0 {
		return b[end+1:]
	}
	return nil
}

func entity(name string) string {
	switch name {
	case "amp":
		return "&"
	case "lt":
		return "<"
	case "gt":
		return ">"
	case "quot":
		return `"`
	case "apos":
		return "'"
	}
	num, ok := strings.CutPrefix(name, "#")
	if !ok {
		return ""
	}
	base := 10
	if hex, ok := strings.CutPrefix(strings.ToLower(num), "x"); ok {
		num, base = hex, 16
	}
	n, err := strconv.ParseUint(num, base, 32)
	if err != nil || n == 0 || n > utf8.MaxRune {
		return ""
	}
	return string(rune(n))
}
