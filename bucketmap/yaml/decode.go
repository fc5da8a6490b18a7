package yaml

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"drover/bucketmap"
)

// Decode reads a map in YAML or JSON. It bounds what it allocates by the
// input's length and the bucket count. The error is a *bucketmap.InvalidError
// where the document says something wrong, every problem with its line.
func Decode(data []byte) (*bucketmap.Snapshot, error) {
	if len(data) <= inputMax {
		if snapshot, ok := decodeOwn(data); ok {
			return snapshot, nil
		}
	}
	return decodeAny(data)
}

// decodeAny reads a document in whatever layout, through the library.
func decodeAny(data []byte) (*bucketmap.Snapshot, error) {
	root, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("map in YAML: %w", err)
	}
	d := decoder{lines: map[string]int{}}
	draft := d.root(root)
	if draft == nil {
		return nil, d.invalid()
	}
	snapshot, err := draft.Snapshot()
	var invalid *bucketmap.InvalidError
	switch {
	case errors.As(err, &invalid):
		d.merge(invalid.Problems)
		return nil, d.invalid()
	case err != nil:
		return nil, fmt.Errorf("map in YAML: %w", err)
	case len(d.problems) != 0:
		return nil, d.invalid()
	}
	return snapshot, nil
}

// decoder turns the tree into a draft and collects what is wrong with it.
type decoder struct {
	problems []problem
	lines    map[string]int // a problem's key → the line that it stands on
}

type problem struct {
	line int
	bucketmap.Problem
}

func (d *decoder) add(line int, key, value, bound string) {
	d.problems = append(d.problems, problem{line, bucketmap.Problem{Key: key, Value: value, Bound: bound}})
}

// merge adds the problems that the draft found to those of the document. A
// key that already has one is not said to be wrong twice.
func (d *decoder) merge(found []bucketmap.Problem) {
	said := map[string]bool{}
	for _, p := range d.problems {
		said[p.Key] = true
	}
	for _, p := range found {
		if !said[p.Key] {
			d.problems = append(d.problems, problem{d.lineOf(p.Key), p})
		}
	}
}

// lineOf finds the line of a key, or else that of the key around it.
func (d *decoder) lineOf(key string) int {
	for {
		if line, ok := d.lines[key]; ok {
			return line
		}
		i := strings.LastIndexByte(key, '.')
		if i < 0 {
			return 0
		}
		key = key[:i]
	}
}

func (d *decoder) invalid() error {
	slices.SortStableFunc(d.problems, func(a, b problem) int { return cmp.Compare(a.line, b.line) })
	e := &bucketmap.InvalidError{}
	for _, p := range d.problems {
		if p.line != 0 {
			p.Key = fmt.Sprintf("line %d: %s", p.line, p.Key)
		}
		e.Problems = append(e.Problems, p.Problem)
	}
	return e
}

// sections are the keys of the document, and whether each must be there.
var sections = []struct {
	name     string
	required bool
}{
	{"version", true}, {"moved", false}, {"buckets", true}, {"default", true}, {"datacenters", true},
	{"shards", false}, {"homes", false}, {"whitelist", false}, {"epochs", false}, {"holds", false},
}

// root reads the sections in the order of sections, whatever the document's,
// because homes need shards and buckets. It returns nil for what is no map at
// all.
func (d *decoder) root(n node) *bucketmap.Draft {
	if n.kind != mapping {
		d.add(n.line, "map", n.kind.String(), "a mapping that begins with version and buckets")
		return nil
	}
	values := d.mapping("", n, func(key string) bool {
		return slices.ContainsFunc(sections, func(s struct {
			name     string
			required bool
		}) bool {
			return s.name == key
		})
	})
	for _, s := range sections {
		if _, ok := values[s.name]; !ok && s.required {
			d.add(n.line, s.name, "missing", "the key")
		}
	}
	buckets, ok := uint64(0), false
	if v, found := values["buckets"]; found {
		buckets, ok = d.number("buckets", v)
	}
	if ok && (buckets < 1 || buckets > bucketmap.BucketsMax) {
		d.add(values["buckets"].line, "buckets", fmt.Sprint(buckets), fmt.Sprintf("1 to %d", bucketmap.BucketsMax))
		ok = false
	}
	if !ok {
		buckets = bucketmap.BucketsMax // to find what else is wrong
	}
	draft := bucketmap.NewDraft(uint32(buckets))
	if v, found := values["version"]; found {
		version, _ := d.number("version", v)
		draft.Version = bucketmap.Version(version)
	}
	if v, found := values["moved"]; found {
		draft.Moved, _ = d.number("moved", v)
	}
	if v, found := values["default"]; found {
		draft.Default = d.dflt(v)
	}
	var datacenters []bucketmap.Datacenter
	if v, found := values["datacenters"]; found {
		for _, item := range d.list("datacenters", v) {
			name, _ := d.text("datacenters", item)
			datacenters = append(datacenters, bucketmap.Datacenter(name))
		}
	}
	if v, found := values["shards"]; found {
		d.shards(draft, v)
	}
	draft.Datacenters = datacenters // without those that PutShard added
	if v, found := values["homes"]; found {
		d.homes(draft, v)
	}
	if v, found := values["whitelist"]; found {
		d.whitelist(draft, v)
	}
	if v, found := values["epochs"]; found {
		d.epochs(draft, v)
	}
	if v, found := values["holds"]; found {
		for _, item := range d.list("holds", v) {
			draft.Holds = append(draft.Holds, d.hold(item))
		}
	}
	return draft
}
