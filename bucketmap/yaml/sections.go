package yaml

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"drover/bucketmap"
)

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
