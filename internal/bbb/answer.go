package bbb

import (
	"bytes"
	"fmt"
	"slices"
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
	els, _, err := s.elements(roomFor(raw), nil)
	if err != nil {
		return Fields{}, fmt.Errorf("scan XML: %w", err)
	}
	return Fields{raw: raw, els: els}, nil
}

// roomFor returns space for the elements of b: plenty for a meeting's, little
// for the few that most answers have.
func roomFor(b []byte) []element { return make([]element, 0, min(len(b)/32+1, 32)) }

// Bytes returns the run's bytes. They must not be changed.
func (f Fields) Bytes() []byte { return f.raw }

func (f Fields) find(name string) (element, bool) {
	for _, el := range f.els {
		if string(el.name) == name {
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

// plain is Text without blanks around it.
func (f Fields) plain(name string) []byte {
	el, ok := f.find(name)
	if !ok {
		return nil
	}
	b := f.raw[el.innerStart:el.innerEnd]
	if isMarkedUp(b) {
		b = []byte(unescapeXML(b))
	}
	return bytes.TrimSpace(b)
}

// isText is Text compared; it makes no string of a text that stands as it is.
func (f Fields) isText(name, want string) bool {
	el, ok := f.find(name)
	return ok && (string(f.raw[el.innerStart:el.innerEnd]) == want || f.Text(name) == want)
}

// Int returns an element's number; 0 when it is missing or none. BBB's locale
// grouping ("1,234") is understood.
func (f Fields) Int(name string) int64 {
	var n int64
	for _, c := range f.plain(name) {
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
	return string(f.plain(name)) == "true"
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
// the run itself when there is none. The element's attributes stay.
func (f Fields) With(name, text string) Fields {
	return f.withInner(name, AppendEscaped(nil, text))
}

func (f Fields) withInner(name string, inner []byte) Fields {
	at := slices.IndexFunc(f.els, func(el element) bool { return string(el.name) == name })
	if at < 0 {
		return f
	}
	el := f.els[at]
	b := make([]byte, 0, len(f.raw)+len(inner)+len(name)+3)
	b = append(b, f.raw[:el.innerStart]...)
	if el.selfClosing() {
		b = append(bytes.TrimRight(b[:len(b)-len("/>")], spaces), '>')
	}
	start := len(b)
	b = append(b, inner...)
	end := len(b)
	if el.selfClosing() {
		b = append(append(append(b, "</"...), name...), '>')
	} else {
		b = append(b, f.raw[el.innerEnd:el.end]...)
	}
	shift := len(b) - el.end
	b = append(b, f.raw[el.end:]...)
	els := slices.Clone(f.els)
	els[at] = element{name: el.name, start: el.start, innerStart: start, innerEnd: end, end: el.end + shift}
	for i := at + 1; i < len(els); i++ {
		els[i] = els[i].moved(shift)
	}
	return Fields{raw: b, els: els}
}

// Without returns the run without the elements of that name and the white space
// before them.
func (f Fields) Without(name string) Fields {
	if !f.Has(name) {
		return f
	}
	out := Fields{raw: make([]byte, 0, len(f.raw)), els: make([]element, 0, len(f.els))}
	copied := 0
	for _, el := range f.els {
		if string(el.name) == name {
			out.raw = append(out.raw, bytes.TrimRight(f.raw[copied:el.start], spaces)...)
			copied = el.end
			continue
		}
		out.els = append(out.els, el.moved(len(out.raw)-copied))
	}
	out.raw = append(out.raw, f.raw[copied:]...)
	return out
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

// Answer is a server's XML answer in its original bytes.
type Answer struct {
	head, tail []byte
	Fields
}

// ParseAnswer scans an answer: one root element, whatever its name. Document
// types, unbalanced tags, deep nesting and anything behind the root are errors.
// Body is kept, not copied.
func ParseAnswer(body []byte) (Answer, error) {
	a, err := parseAnswer(body)
	if err != nil {
		return Answer{}, fmt.Errorf("scan XML: %w", err)
	}
	return a, nil
}

func parseAnswer(body []byte) (Answer, error) {
	s := scanner{b: body}
	root, err := s.root()
	if err != nil {
		return Answer{}, err
	}
	if root.selfClosing {
		return Answer{head: body[:root.end], tail: body[root.end:]}, s.finish()
	}
	f, err := s.fields(root)
	if err != nil {
		return Answer{}, err
	}
	return Answer{head: body[:root.end], tail: body[root.end+len(f.raw):], Fields: f}, s.finish()
}

// fields reads the inside of the element whose start tag was just read, up to
// behind its end tag.
func (s *scanner) fields(t tag) (Fields, error) {
	els, end, err := s.elements(roomFor(s.b[t.end:]), t.name)
	if err != nil {
		return Fields{}, err
	}
	for i := range els {
		els[i] = els[i].moved(-t.end)
	}
	return Fields{raw: s.b[t.end:end], els: els}, nil
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
func (a Answer) Success() bool { return a.isText("returncode", "SUCCESS") }

// Failed reports whether the returncode is FAILED.
func (a Answer) Failed() bool { return a.isText("returncode", "FAILED") }

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

func isMarkedUp(b []byte) bool {
	return bytes.IndexByte(b, '&') >= 0 || bytes.IndexByte(b, '<') >= 0
}

// maxEntity is the length of the longest entity we know, "&#x10FFFF;", and some
// leading zeros.
const maxEntity = 16

// unescapeXML returns the text of an element's inside: entities and CDATA
// sections resolved, comments and tags left out, an unknown entity left as it is.
func unescapeXML(b []byte) string {
	if !isMarkedUp(b) {
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
			b = unwrapMarkup(&out, b)
			continue
		}
		end := bytes.IndexByte(b[:min(len(b), maxEntity)], ';')
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

// unwrapMarkup writes the text of the CDATA section that b begins with, or
// passes over a tag, comment or instruction, and returns what follows. B was
// scanned before, so that all of them end.
func unwrapMarkup(out *strings.Builder, b []byte) []byte {
	end, err := 0, error(nil)
	switch {
	case bytes.HasPrefix(b, []byte("<![CDATA[")):
		end, err = endOf(b, 9, "]]>")
		if err == nil {
			out.Write(b[9 : end-3])
		}
	case bytes.HasPrefix(b, []byte("<!--")):
		end, err = endOf(b, 4, "-->")
	case bytes.HasPrefix(b, []byte("<?")):
		end, err = endOf(b, 2, "?>")
	default:
		var t tag
		t, err = readTag(b)
		end = t.end
	}
	if err != nil {
		return nil
	}
	return b[end:]
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
