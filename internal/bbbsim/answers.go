package bbbsim

import (
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Content types with Grails' spelling.
const (
	xmlType  = "text/xml;charset=utf-8"
	jsonType = "application/json;charset=utf-8"
	htmlType = "text/html;charset=utf-8"
)

// answer is an HTTP answer, complete before a byte of it is written so that a
// fault can cut it.
type answer struct {
	status      int
	contentType string
	noCache     bool
	location    string
	cookie      *http.Cookie
	allow       string
	body        []byte
}

func (a answer) header(h http.Header) {
	if a.contentType != "" {
		h.Set("Content-Type", a.contentType)
	}
	if a.noCache {
		h.Set("Cache-Control", "no-cache")
	}
	if a.location != "" {
		h.Set("Location", a.location)
	}
	if a.cookie != nil {
		h.Add("Set-Cookie", a.cookie.String())
	}
	if a.allow != "" {
		h.Set("Allow", a.allow)
	}
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
}

func (a answer) write(w http.ResponseWriter, r *http.Request) {
	a.header(w.Header())
	w.WriteHeader(a.status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(a.body) // the client may have gone
	}
}

// cut writes the head and half of the body (half of the head, when there is no
// body) and closes the connection.
func (a answer) cut(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		a.header(w.Header())
		w.WriteHeader(a.status)
		_, _ = w.Write(a.body[:len(a.body)/2]) // the client may have gone
		panic(http.ErrAbortHandler)
	}
	header := make(http.Header)
	a.header(header)
	var head strings.Builder
	fmt.Fprintf(&head, "HTTP/1.1 %d %s\r\n", a.status, http.StatusText(a.status))
	_ = header.Write(&head) // a strings.Builder never fails
	head.WriteString("\r\n")
	part := []byte(head.String())
	if len(a.body) > 0 {
		part = append(part, a.body[:len(a.body)/2]...)
	} else {
		part = part[:len(part)/2]
	}
	_, _ = conn.Write(part) // the client may have gone
	_ = conn.Close()        // cut is cut
}

func xmlAnswer(body []byte, noCache bool) answer {
	return answer{status: http.StatusOK, contentType: xmlType, noCache: noCache, body: body}
}

// failureAnswer is an error of the API: HTTP 200, XML unless only JSON is wanted.
func failureAnswer(req *apiRequest, f failure) answer {
	if req.wantsJSON() {
		return jsonFields(params{{"returncode", "FAILED"}, {"messageKey", f.key}, {"message", f.message}})
	}
	var x xmlWriter
	x.open("response")
	x.element("returncode", "FAILED")
	x.element("messageKey", f.key)
	x.element("message", f.message)
	return xmlAnswer(x.close(), true)
}

// failureList is the list form, which only nonUniqueVoiceBridge has (BBB API,
// errors).
func failureList(f failure) answer {
	var x xmlWriter
	x.open("response")
	x.element("returncode", "FAILED")
	x.open("errors")
	x.open("error")
	x.element("key", f.key)
	x.element("message", f.message)
	x.shut("error")
	x.shut("errors")
	return xmlAnswer(x.close(), true)
}

// jsonString quotes as JSON does, without the escaping of HTML.
func jsonString(s string) string {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(s) // a string always encodes
	return strings.TrimSuffix(b.String(), "\n")
}

// errorPage is what an uncaught exception of bbb-web looks like.
func errorPage() answer {
	return page(http.StatusInternalServerError, "Grails Runtime Exception",
		"<h1>Error 500: Internal Server Error</h1>")
}

// notFoundPage is what Grails answers for a call it doesn't know.
func notFoundPage(path string) answer {
	return page(http.StatusNotFound, "Page Not Found",
		"<ul class=\"errors\">\n<li>Error: Page Not Found (404)</li>\n<li>Path: "+html.EscapeString(path)+"</li>\n</ul>")
}

func page(status int, title, body string) answer {
	return answer{status: status, contentType: htmlType, noCache: true, body: []byte(
		"<!doctype html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n<title>" + html.EscapeString(title) +
			"</title>\n</head>\n<body>\n" + body + "\n</body>\n</html>\n")}
}

// xmlWriter writes what BBB's compressed templates do (BBB API, common rendering
// rules): one element a line, no indentation, no final newline.
type xmlWriter struct{ buf []byte }

func (x *xmlWriter) open(name string) {
	x.buf = append(x.buf, '<')
	x.buf = append(x.buf, name...)
	x.buf = append(x.buf, '>', '\n')
}

func (x *xmlWriter) shut(name string) {
	x.buf = append(x.buf, '<', '/')
	x.buf = append(x.buf, name...)
	x.buf = append(x.buf, '>', '\n')
}

// close shuts the root element, which is the same in all answers, and returns the
// document.
func (x *xmlWriter) close() []byte {
	x.shut("response")
	return x.buf[:len(x.buf)-1]
}

func (x *xmlWriter) element(name, value string) {
	x.start(name)
	x.buf = appendText(x.buf, value)
	x.end(name)
}

func (x *xmlWriter) number(name string, value int64) {
	x.start(name)
	x.buf = strconv.AppendInt(x.buf, value, 10)
	x.end(name)
}

// count writes a number with the grouping of an English server where the
// template formats numbers by locale.
func (x *xmlWriter) count(name string, value int, grouped bool) {
	x.start(name)
	if grouped {
		x.buf = appendGrouped(x.buf, value)
	} else {
		x.buf = strconv.AppendInt(x.buf, int64(value), 10)
	}
	x.end(name)
}

func (x *xmlWriter) boolean(name string, value bool) {
	x.start(name)
	x.buf = strconv.AppendBool(x.buf, value)
	x.end(name)
}

func (x *xmlWriter) start(name string) {
	x.buf = append(x.buf, '<')
	x.buf = append(x.buf, name...)
	x.buf = append(x.buf, '>')
}

func (x *xmlWriter) end(name string) {
	x.buf = append(x.buf, '<', '/')
	x.buf = append(x.buf, name...)
	x.buf = append(x.buf, '>', '\n')
}

// appendText escapes a value and collapses its white space, as the template
// engine does: a run with a line break becomes one line break, any other one
// blank.
func appendText(b []byte, s string) []byte {
	plain := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c > ' ' && c < utf8.RuneSelf && c != '&' && c != '<' && c != '>' && c != '"' && c != '\'' {
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if !javaSpace(r) {
			if escaped := xmlEscape(r); escaped != "" {
				b = append(b, s[plain:i]...)
				b = append(b, escaped...)
				plain = i + size
			}
			i += size
			continue
		}
		b = append(b, s[plain:i]...)
		end, broken := spaceRun(s, i)
		if broken {
			b = append(b, '\n')
		} else {
			b = append(b, ' ')
		}
		i, plain = end, end
	}
	return append(b, s[plain:]...)
}

// spaceRun returns the end of the white space that begins at i, and whether it
// has a line break in it.
func spaceRun(s string, i int) (end int, broken bool) {
	for i < len(s) {
		r, size := utf8.DecodeRuneInString(s[i:])
		if !javaSpace(r) {
			break
		}
		broken = broken || r == '\n' || r == '\r'
		i += size
	}
	return i, broken
}

// javaSpace is Character.isWhitespace: the no-break spaces are not.
func javaSpace(r rune) bool {
	switch {
	case r >= '\t' && r <= '\r', r >= 0x1c && r <= ' ':
		return true
	case r < utf8.RuneSelf, r == 0xa0, r == 0x2007, r == 0x202f:
		return false
	}
	return unicode.In(r, unicode.Zs, unicode.Zl, unicode.Zp)
}

func xmlEscape(r rune) string {
	switch r {
	case '&':
		return "&amp;"
	case '<':
		return "&lt;"
	case '>':
		return "&gt;"
	case '"':
		return "&quot;"
	case '\'':
		return "&apos;"
	}
	return ""
}

func appendGrouped(b []byte, n int) []byte {
	digits := strconv.Itoa(n)
	if digits[0] == '-' {
		b = append(b, '-')
		digits = digits[1:]
	}
	for i := range len(digits) {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b = append(b, ',')
		}
		b = append(b, digits[i])
	}
	return b
}
