package yaml

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

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

// mapping returns a mapping's values by key and reports keys that come twice
// or that allowed does not know; a nil allowed knows all.
func (d *decoder) mapping(path string, n node, allowed func(string) bool) map[string]node {
	if n.kind != mapping {
		d.add(n.line, path, n.kind.String(), "a mapping")
		return nil
	}
	d.lines[path] = n.line
	values := make(map[string]node, len(n.items))
	for i, key := range n.keys {
		full := join(path, key.text)
		if first, twice := values[key.text]; twice {
			d.add(key.line, full, "the key a second time", fmt.Sprintf("it once; the first is on line %d", first.line))
			continue
		}
		if allowed != nil && !allowed(key.text) {
			d.add(key.line, full, "unknown key", "a key of the map's form")
			continue
		}
		values[key.text] = n.items[i]
		if path == "" || path == "shards" || path == "default" {
			d.lines[full] = key.line
		}
	}
	return values
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func oneOf(keys ...string) func(string) bool {
	return func(key string) bool { return slices.Contains(keys, key) }
}

func (d *decoder) list(path string, n node) []node {
	if n.kind != sequence {
		d.add(n.line, path, n.kind.String(), "a list")
		return nil
	}
	return n.items
}

func (d *decoder) text(path string, n node) (string, bool) {
	if n.kind != plain && n.kind != quoted {
		d.add(n.line, path, n.kind.String(), "one value")
		return "", false
	}
	return n.text, true
}

// number reads a number as people write it: digits, no quotes.
func (d *decoder) number(path string, n node) (uint64, bool) {
	text, ok := d.text(path, n)
	if !ok {
		return 0, false
	}
	v, ok := parseNumber(text)
	if !ok || n.kind != plain {
		d.add(n.line, path, fmt.Sprintf("%q", text), "a number in digits, without quotes")
		return 0, false
	}
	return v, true
}

// parseNumber is stricter than strconv: no sign and no leading zero, which
// YAML readers take for octal.
func parseNumber(text string) (uint64, bool) {
	if text == "" || text[0] == '+' || text[0] == '0' && text != "0" {
		return 0, false
	}
	v, err := strconv.ParseUint(text, 10, 64)
	return v, err == nil
}

// field reads one text of a mapping, and reports it missing.
func (d *decoder) field(path, key string, n node, values map[string]node) string {
	v, ok := values[key]
	if !ok {
		if values != nil {
			d.add(n.line, join(path, key), "missing", "the key")
		}
		return ""
	}
	text, _ := d.text(join(path, key), v)
	return text
}

func (d *decoder) dflt(n node) bucketmap.Default {
	values := d.mapping("default", n, oneOf("mode", "source", "target", "datacenter"))
	dflt := bucketmap.Default{Datacenter: bucketmap.Datacenter(d.field("default", "datacenter", n, values))}
	switch mode := d.field("default", "mode", n, values); mode {
	case "auto":
		dflt.Auto = true
		dflt.Source = bucketmap.Datacenter(d.field("default", "source", n, values))
		dflt.Target = bucketmap.Datacenter(d.field("default", "target", n, values))
	case "pinned":
		for _, key := range []string{"source", "target"} {
			if v, ok := values[key]; ok {
				d.add(v.line, "default."+key, "there with mode pinned", "the key left out, or mode auto")
			}
		}
	case "": // missing, and said so
	default:
		d.add(values["mode"].line, "default.mode", fmt.Sprintf("%q", mode), "auto or pinned")
	}
	return dflt
}

func (d *decoder) shards(draft *bucketmap.Draft, n node) {
	values := d.mapping("shards", n, nil)
	for _, key := range orderedKeys(n) {
		v, ok := values[key]
		if !ok {
			continue
		}
		path := "shards." + key
		fields := d.mapping(path, v, oneOf("datacenter", "epoch"))
		shard := bucketmap.Shard{
			Name:       bucketmap.ShardName(key),
			Datacenter: bucketmap.Datacenter(d.field(path, "datacenter", v, fields)),
			Epoch:      bucketmap.FirstEpoch,
		}
		if e, ok := fields["epoch"]; ok {
			epoch, ok := d.number(path+".epoch", e)
			if ok && epoch == 0 {
				d.add(e.line, path+".epoch", "0", "1 or higher")
			}
			shard.Epoch = bucketmap.Epoch(epoch)
		}
		if err := draft.PutShard(shard); err != nil {
			d.add(v.line, path, "one shard too many", fmt.Sprintf("at most %d", bucketmap.ShardsMax))
			return
		}
	}
}

// orderedKeys returns a mapping's keys as sorted as a draft wants them, so
// that adding a shard is an append.
func orderedKeys(n node) []string {
	keys := make([]string, 0, len(n.keys))
	for _, k := range n.keys {
		keys = append(keys, k.text)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// span is a range of buckets as it stands in the document.
type span struct {
	first, last bucketmap.BucketID
	path        string
	line        int
	text        string
	shard       bucketmap.ShardName // of homes
	epoch       bucketmap.Epoch     // of epochs
}

// span reads "17" or "17-40".
func (d *decoder) span(path string, n node, buckets uint32) (span, bool) {
	text, ok := d.text(path, n)
	if !ok {
		return span{}, false
	}
	from, to, isRange := strings.Cut(text, "-")
	if !isRange {
		to = from
	}
	first, ok1 := parseNumber(from)
	last, ok2 := parseNumber(to)
	if !ok1 || !ok2 || first > last || last >= uint64(buckets) {
		d.add(n.line, path, fmt.Sprintf("%q", text), fmt.Sprintf(`a bucket or a range in order, 0 to %d, as "17" or "17-40"`, buckets-1))
		return span{}, false
	}
	return span{first: bucketmap.BucketID(first), last: bucketmap.BucketID(last), path: path, line: n.line, text: text}, true
}

// disjoint sorts the spans, reports those that overlap one before, and
// returns the rest. Without it a short document of a million overlapping
// ranges would be a day's work.
func (d *decoder) disjoint(spans []span) []span {
	slices.SortStableFunc(spans, func(a, b span) int { return cmp.Compare(a.first, b.first) })
	kept := spans[:0]
	for _, s := range spans {
		if n := len(kept); n != 0 && s.first <= kept[n-1].last {
			before := kept[n-1]
			d.add(s.line, s.path, fmt.Sprintf("%q", s.text),
				fmt.Sprintf("buckets that are not in %q of %s, line %d", before.text, before.path, before.line))
			continue
		}
		kept = append(kept, s)
	}
	return kept
}

func (d *decoder) homes(draft *bucketmap.Draft, n node) {
	var spans []span
	values := d.mapping("homes", n, nil)
	for _, key := range orderedKeys(n) {
		v, path := values[key], "homes."+key
		if _, ok := draft.Shard(bucketmap.ShardName(key)); !ok {
			d.add(v.line, path, "unknown shard", "one of the map's shards")
			continue
		}
		for _, item := range d.list(path, v) {
			if s, ok := d.span(path, item, draft.Buckets); ok {
				s.shard = bucketmap.ShardName(key)
				spans = append(spans, s)
			}
		}
	}
	for _, s := range d.disjoint(spans) {
		if err := draft.SetHome(s.first, s.last, s.shard); err != nil {
			d.add(s.line, s.path, s.text, err.Error())
		}
	}
}

func (d *decoder) epochs(draft *bucketmap.Draft, n node) {
	if n.kind != mapping {
		d.add(n.line, "epochs", n.kind.String(), "a mapping")
		return
	}
	var spans []span
	for i, key := range n.keys {
		s, ok := d.span("epochs", key, draft.Buckets)
		if !ok {
			continue
		}
		epoch, ok := d.number("epochs."+key.text, n.items[i])
		if !ok {
			continue
		}
		if epoch == 0 {
			d.add(n.items[i].line, "epochs."+key.text, "0", "1 or higher")
			continue
		}
		s.epoch = bucketmap.Epoch(epoch)
		spans = append(spans, s)
	}
	for _, s := range d.disjoint(spans) {
		if s.epoch == bucketmap.FirstEpoch {
			continue // what every bucket has
		}
		for b := s.first; b <= s.last; b++ {
			draft.Epochs[b] = s.epoch
		}
	}
}

func (d *decoder) whitelist(draft *bucketmap.Draft, n node) {
	values := d.mapping("whitelist", n, nil)
	for _, key := range orderedKeys(n) {
		v, ok := values[key]
		if !ok {
			continue
		}
		path := "whitelist." + key
		if !slices.Contains(draft.Datacenters, bucketmap.Datacenter(key)) {
			d.add(v.line, path, "unknown datacenter", "one of the map's datacenters")
			continue
		}
		for _, item := range d.list(path, v) {
			text, ok := d.text(path, item)
			if !ok {
				continue
			}
			id, err := bucketmap.ParseUserID(text)
			if err != nil {
				d.add(item.line, path, err.Error(), "a user id")
				continue
			}
			if dc, twice := draft.Whitelist[string(id)]; twice {
				d.add(item.line, path, fmt.Sprintf("%q a second time", id.String()), fmt.Sprintf("it once; it is under %s already", dc))
				continue
			}
			draft.Whitelist[string(id)] = bucketmap.Datacenter(key)
		}
	}
}

// hold leaves to the draft what the draft checks.
func (d *decoder) hold(n node) bucketmap.Hold {
	h := bucketmap.Hold{}
	values := d.mapping("holds", n, oneOf("buckets", "shard", "move", "until"))
	if values == nil {
		return h
	}
	h.Move = bucketmap.MoveID(d.field("holds", "move", n, values))
	if text := d.field("holds", "until", n, values); text != "" {
		until, err := time.Parse(time.RFC3339, text)
		if err != nil {
			d.add(values["until"].line, "holds.until", fmt.Sprintf("%q", text), "a time as 2026-11-21T10:00:00.123Z")
		}
		h.Until = until
	}
	ofBuckets, okBuckets := values["buckets"]
	ofShard, okShard := values["shard"]
	switch {
	case okBuckets == okShard:
		d.add(n.line, "holds", "a hold of both buckets and a shard, or of neither", "one of them")
	case okBuckets:
		// 0-0 in place of a range that cannot be read keeps the draft from
		// reporting it again.
		if s, ok := d.span("holds.buckets", ofBuckets, bucketmap.BucketsMax); ok {
			h.First, h.Last = s.first, s.last
		}
	default:
		name, ok := d.text("holds.shard", ofShard)
		if ok && name == "" {
			d.add(ofShard.line, "holds.shard", `""`, "one of the map's shards")
		}
		h.Shard = bucketmap.ShardName(name)
	}
	return h
}
