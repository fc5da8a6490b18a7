package slo

import (
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// UnmarshalYAML reads an objective onto its defaults. An unknown key is an error.
func (o *Objective) UnmarshalYAML(node ast.Node) error {
	type plain Objective
	p := plain{MinEvents: DefaultMinEvents}
	if err := yaml.NodeToValue(node, &p, yaml.Strict()); err != nil {
		return err
	}
	*o = Objective(p)
	o.standard()
	return nil
}

// standard fills in what depends on the kind.
func (o *Objective) standard() {
	if o.Kind == Availability && o.Unanswered == "" {
		o.Unanswered = unansweredIgnored
	}
}

// UnmarshalYAML reads the source onto its defaults. An unknown key is an error.
func (s *Source) UnmarshalYAML(node ast.Node) error {
	type plain Source
	p := plain(*s)
	mendURLs(node)
	if err := yaml.NodeToValue(node, &p, yaml.Strict()); err != nil {
		return err
	}
	*s = Source(p)
	return nil
}

// mendURLs makes a text again of an address whose colon the parser has taken for
// a key's: it does so within braces, where YAML does not.
func mendURLs(node ast.Node) {
	section, ok := node.(*ast.MappingNode)
	if !ok {
		return
	}
	for _, v := range section.Values {
		if list, ok := v.Value.(*ast.SequenceNode); ok && v.Key.String() == "urls" {
			for i := range list.Values {
				list.Values[i] = mended(list.Values[i])
			}
		}
		if v.Key.String() == "url" {
			v.Value = mended(v.Value)
		}
	}
}

func mended(n ast.Node) ast.Node {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		text := strings.ReplaceAll(strings.Trim(n.String(), "{} \n"), ": ", ":")
		return &ast.StringNode{BaseNode: &ast.BaseNode{}, Token: n.GetToken(), Value: text}
	default:
		return n
	}
}

// Resolve makes the section's paths relative to a folder.
func (c *Config) Resolve(dir string) {
	for _, p := range []*string{&c.Source.TokenFile, &c.Source.CAFile} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
}
