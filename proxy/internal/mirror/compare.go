package mirror

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"mime"
	"slices"
	"strings"
)

// fieldsMax bounds the fields in which two answers are found to differ. What is
// beyond them is one more field. Fields are found in no order, so that all of
// them must be there to tell one pair's from another's.
const fieldsMax = 256

// The fields that are no JSON.
const (
	fieldStatus = "status"
	fieldBody   = "body"   // as a whole: text, or JSON beside something else
	fieldMore   = "(more)" // fields beyond fieldsMax
	fieldRoot   = "$"
	fieldHeader = "header." // and its name
)

// answer is one of the answers to compare.
type answer struct {
	status int
	fields []field // names in lower case
	body   []byte
	toHead bool
	over   bool // the body is longer than BodyMax; what is there is its beginning
}

type field struct{ name, value string }

// difference is one field in which answers differ. Within are the fields that
// it is in, itself last.
type difference struct {
	field, place, source, target string
	within                       []string
}

// comparison is what two answers differ in.
type comparison struct {
	differences []difference // one a field, by name
	// blind says that a whole body differs that is known to be noise: nothing of
	// it was compared.
	blind bool
}

// comparer compares two answers.
type comparer struct {
	rules *Rules
	noise map[string]bool
	path  []step
	found comparison
	seen  map[string]bool
}

// compare compares the source's answer with the target's, but for the fields
// that are noise, and what is in them.
func compare(source, target *answer, rules *Rules, noise map[string]bool) comparison {
	c := &comparer{rules: rules, noise: noise, seen: map[string]bool{}}
	if source.status != target.status {
		// Whatever else differs follows from it.
		c.add(fieldStatus, fmt.Sprintf("%d %s", source.status, text(source.body)), fmt.Sprintf("%d %s", target.status, text(target.body)))
		return c.found
	}
	c.headers(source, target)
	if !source.toHead {
		c.bodies(source, target)
	}
	slices.SortFunc(c.found.differences, func(a, b difference) int { return cmp.Compare(a.field, b.field) })
	return c.found
}

// without leaves out what differs here too. When the status differs here, or
// more than can be named, no difference can be told from another.
func (c *comparison) without(list []difference) []difference {
	mine := map[string]bool{}
	for _, d := range c.differences {
		mine[d.field] = true
	}
	if mine[fieldStatus] || mine[fieldMore] {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(list), func(d difference) bool {
		return slices.ContainsFunc(d.within, func(f string) bool { return mine[f] })
	})
}

// add notes a difference in a field that is no JSON.
func (c *comparer) add(name, source, target string) {
	c.addIn(name, name, []string{name}, source, target)
}

func (c *comparer) addIn(name, place string, within []string, source, target string) {
	for _, f := range within {
		if c.noise[f] {
			c.found.blind = c.found.blind || f == fieldBody || f == fieldRoot
			return
		}
	}
	switch {
	case c.seen[name]:
	case len(c.seen) < fieldsMax:
		c.seen[name] = true
		c.found.differences = append(c.found.differences, difference{
			field: name, place: place, source: shorten(source, valueShown), target: shorten(target, valueShown), within: within,
		})
	case !c.seen[fieldMore]:
		c.seen[fieldMore] = true
		c.found.differences = append(c.found.differences, difference{field: fieldMore, place: fieldMore, within: []string{fieldMore}})
	}
}

// headers compares sets of values, name by name.
func (c *comparer) headers(source, target *answer) {
	ours, theirs := c.fieldsOf(source), c.fieldsOf(target)
	for name, values := range ours {
		if !slices.Equal(values, theirs[name]) {
			c.header(name, values, theirs[name])
		}
	}
	for name, values := range theirs {
		if _, both := ours[name]; !both {
			c.header(name, nil, values)
		}
	}
}

func (c *comparer) header(name string, source, target []string) {
	show := func(values []string) string {
		switch {
		case len(values) == 0:
			return missing
		case name == "set-cookie", strings.Contains(name, "auth"), strings.Contains(name, "token"), strings.Contains(name, "location"):
			return "(not shown)" // it may hold a secret
		default:
			return strings.Join(values, ", ")
		}
	}
	c.add(shorten(fieldHeader+name, fieldMax), show(source), show(target))
}

// fieldsOf returns the fields to compare, each with its values in order.
func (c *comparer) fieldsOf(a *answer) map[string][]string {
	named := map[string]bool{} // by Connection: they end at the next hop
	for _, f := range a.fields {
		if f.name == "connection" {
			for token := range strings.SplitSeq(f.value, ",") {
				named[strings.ToLower(strings.TrimSpace(token))] = true
			}
		}
	}
	all := map[string][]string{}
	for _, f := range a.fields {
		if !named[f.name] && !ofTheHop(f.name) && !c.rules.headers[f.name] && (a.toHead || f.name != "content-length") {
			all[f.name] = append(all[f.name], strings.TrimSpace(f.value))
		}
	}
	for _, values := range all {
		slices.Sort(values)
	}
	return all
}

// ofTheHop says whether a field is the connection's (RFC 9110, 7.6.1), the
// answer's time, or the edge's own. A body's length is compared by the body.
func ofTheHop(name string) bool {
	switch name {
	case "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer",
		"transfer-encoding", "upgrade", "date":
		return true
	}
	return strings.HasPrefix(name, "drover-") || name == "x-drover-mirror"
}

// bodies compares bodies: as JSON when both are, else as text.
func (c *comparer) bodies(source, target *answer) {
	if source.over || target.over {
		c.add(fieldBody, lengthOf(source), lengthOf(target))
		return
	}
	if bytes.Equal(source.body, target.body) {
		return
	}
	ours, theirs := decoded(source), decoded(target)
	if a, b, ok := bothJSON(source, target, ours, theirs); ok {
		c.value(a, b)
		return
	}
	c.texts(ours, theirs)
}

func lengthOf(a *answer) string {
	if a.over {
		return fmt.Sprintf("more than %d bytes", len(a.body))
	}
	return fmt.Sprintf("%d bytes", len(a.body))
}

func (a *answer) get(name string) string {
	for _, f := range a.fields {
		if f.name == name {
			return f.value
		}
	}
	return ""
}

// expandMax is how many times longer than as it came a compressed body may be:
// a bomb is compared as it came.
const expandMax = 32

// decoded is a body without its compression, where the standard library knows
// it; as it came otherwise.
func decoded(a *answer) []byte {
	var r io.Reader
	var err error
	switch strings.ToLower(strings.TrimSpace(a.get("content-encoding"))) {
	case "gzip", "x-gzip":
		r, err = gzip.NewReader(bytes.NewReader(a.body))
	case "deflate":
		r, err = zlib.NewReader(bytes.NewReader(a.body))
	default:
		return a.body
	}
	if err != nil {
		return a.body
	}
	limit := int64(len(a.body)) * expandMax
	plain, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil || int64(len(plain)) > limit {
		return a.body
	}
	return plain
}

// saysJSON says whether an answer is JSON by its type, or may be by how it
// begins.
func saysJSON(a *answer, body []byte) bool {
	kind, _, err := mime.ParseMediaType(a.get("content-type"))
	if err == nil && (kind == "application/json" || strings.HasSuffix(kind, "+json")) {
		return true
	}
	body = bytes.TrimLeft(body, " \t\r\n")
	return len(body) != 0 && (body[0] == '{' || body[0] == '[')
}

// text is a body for people.
func text(body []byte) string { return string(body[:min(len(body), valueShown)]) }
