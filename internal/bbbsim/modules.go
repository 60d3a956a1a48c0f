package bbbsim

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

var errBadModules = errors.New("bad modules document")

// Module is one module of the XML body of a create (BBB API, create).
type Module struct {
	Name      string     `json:"name"`
	Documents []Document `json:"documents,omitempty"`
}

// Document is one presentation of a module; it is recorded and never fetched.
type Document struct {
	Name     string `json:"name,omitempty"`
	Filename string `json:"filename,omitempty"`
	URL      string `json:"url,omitempty"`
	// Content is the size of the inline (base64) content.
	Content int `json:"content,omitempty"`
}

// parseModules reads the body of a create. The root's name is irrelevant; its
// children with a name attribute are modules, of which the last of a name wins.
func parseModules(body []byte) ([]Module, error) {
	if len(body) == 0 {
		return nil, nil
	}
	decoder := xml.NewDecoder(bytes.NewReader(body))
	// A real server reads the body as text before it parses it, so that the
	// declared encoding means nothing.
	decoder.CharsetReader = func(_ string, input io.Reader) (io.Reader, error) { return input, nil }
	p := moduleParser{}
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errBadModules, err)
		}
		if err := p.token(token); err != nil {
			return nil, err
		}
	}
	if !p.rootSeen {
		return nil, fmt.Errorf("%w: no root element", errBadModules)
	}
	return p.modules, nil
}

type moduleParser struct {
	modules  []Module
	rootSeen bool
	depth    int
	current  int // index of the module we are in; -1 outside
}

func (p *moduleParser) token(token xml.Token) error {
	switch t := token.(type) {
	case xml.StartElement:
		return p.start(t)
	case xml.EndElement:
		p.depth--
	case xml.CharData:
		if p.depth == 0 && len(bytes.TrimSpace(t)) > 0 && !isBOM(t) {
			return fmt.Errorf("%w: text outside the root", errBadModules)
		}
		if p.depth == 3 && p.current >= 0 {
			if documents := p.modules[p.current].Documents; len(documents) > 0 {
				documents[len(documents)-1].Content += len(bytes.TrimSpace(t))
			}
		}
	case xml.Directive:
		return fmt.Errorf("%w: document type", errBadModules)
	}
	return nil
}

func (p *moduleParser) start(t xml.StartElement) error {
	switch {
	case p.depth == 0 && p.rootSeen:
		return fmt.Errorf("%w: two roots", errBadModules)
	case p.depth == 0:
		p.rootSeen = true
	case p.depth == 1:
		p.module(attribute(t, "name"))
	case p.depth == 2 && p.current >= 0 && t.Name.Local == "document":
		m := &p.modules[p.current]
		m.Documents = append(m.Documents, Document{
			Name: attribute(t, "name"), Filename: attribute(t, "filename"), URL: attribute(t, "url"),
		})
	}
	p.depth++
	return nil
}

func (p *moduleParser) module(name string) {
	p.current = -1
	if name == "" {
		return
	}
	for i := range p.modules {
		if p.modules[i].Name == name {
			p.modules[i].Documents = nil
			p.current = i
			return
		}
	}
	p.modules = append(p.modules, Module{Name: name})
	p.current = len(p.modules) - 1
}

func attribute(t xml.StartElement, name string) string {
	for _, a := range t.Attr {
		if a.Name.Local == name {
			return strings.Clone(a.Value)
		}
	}
	return ""
}

func isBOM(text []byte) bool { return string(text) == "\ufeff" }
