package yaml

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"drover/bucketmap"
)

const (
	widthMax    = 100 // columns of a line, where a single value is not longer
	untilFormat = "2006-01-02T15:04:05.000Z"
)

// document is the form: its fields are the sections in their order.
type document struct {
	Version     bucketmap.Version      `json:"version"`
	Moved       uint64                 `json:"moved,omitempty"`
	Buckets     uint32                 `json:"buckets"`
	Default     dflt                   `json:"default"`
	Datacenters []bucketmap.Datacenter `json:"datacenters"`
	Shards      map[string]shard       `json:"shards,omitempty"`
	Homes       map[string][]string    `json:"homes,omitempty"`
	Whitelist   map[string][]string    `json:"whitelist,omitempty"`
	Epochs      epochs                 `json:"epochs,omitempty"`
	Holds       []hold                 `json:"holds,omitempty"`
}

type dflt struct {
	Mode       string               `json:"mode"`
	Source     bucketmap.Datacenter `json:"source,omitempty"`
	Target     bucketmap.Datacenter `json:"target,omitempty"`
	Datacenter bucketmap.Datacenter `json:"datacenter"`
}

type shard struct {
	Datacenter bucketmap.Datacenter `json:"datacenter"`
	Epoch      bucketmap.Epoch      `json:"epoch"`
}

type hold struct {
	Buckets string           `json:"buckets,omitempty"`
	Shard   string           `json:"shard,omitempty"`
	Move    bucketmap.MoveID `json:"move"`
	Until   string           `json:"until"`
}

// epochs is a JSON object in the order of the buckets, which a Go map would
// put in the order of their digits.
type epochs []epochRun

type epochRun struct {
	first, last bucketmap.BucketID
	epoch       bucketmap.Epoch
}

func (e epochs) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for i, r := range e {
		if i != 0 {
			out = append(out, ',')
		}
		out = fmt.Appendf(out, "%q:%d", bucketmap.RangeText(r.first, r.last), r.epoch)
	}
	return append(out, '}'), nil
}

func newDocument(s *bucketmap.Snapshot) *document {
	d := &document{
		Version:     s.Version(),
		Moved:       s.Moved(),
		Buckets:     s.Buckets(),
		Datacenters: s.Datacenters(),
		Shards:      map[string]shard{},
		Homes:       map[string][]string{},
		Whitelist:   map[string][]string{},
	}
	def := s.Default()
	d.Default = dflt{Mode: "pinned", Datacenter: def.Datacenter}
	if def.Auto {
		d.Default = dflt{"auto", def.Source, def.Target, def.Datacenter}
	}
	for _, sh := range s.Shards() {
		d.Shards[string(sh.Name)] = shard{sh.Datacenter, sh.Epoch}
	}
	for r := range s.Runs() {
		if r.Shard != "" {
			d.Homes[string(r.Shard)] = append(d.Homes[string(r.Shard)], bucketmap.RangeText(r.First, r.Last))
		}
	}
	for id, dc := range s.Whitelist() {
		d.Whitelist[string(dc)] = append(d.Whitelist[string(dc)], bucketmap.UserID(id).String())
	}
	for b, e := range s.Epochs() {
		if n := len(d.Epochs); n != 0 && d.Epochs[n-1].last+1 == b && d.Epochs[n-1].epoch == e {
			d.Epochs[n-1].last = b
			continue
		}
		d.Epochs = append(d.Epochs, epochRun{b, b, e})
	}
	for _, h := range s.Holds() {
		out := hold{Shard: string(h.Shard), Move: h.Move, Until: h.Until.UTC().Format(untilFormat)}
		if h.Shard == "" {
			out.Buckets = bucketmap.RangeText(h.First, h.Last)
		}
		d.Holds = append(d.Holds, out)
	}
	return d
}

// EncodeJSON returns the map as JSON: the same form, which Decode reads too.
func EncodeJSON(s *bucketmap.Snapshot) ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(newDocument(s)); err != nil {
		return nil, fmt.Errorf("map in JSON: %w", err)
	}
	return out.Bytes(), nil
}

// Encode returns the map as YAML. The same map gives the same bytes.
func Encode(s *bucketmap.Snapshot) ([]byte, error) {
	d := newDocument(s)
	var w writer
	fmt.Fprintf(&w, "version: %d\n", d.Version)
	if d.Moved != 0 {
		fmt.Fprintf(&w, "moved: %d\n", d.Moved)
	}
	fmt.Fprintf(&w, "buckets: %d\n", d.Buckets)
	if d.Default.Mode == "auto" {
		fmt.Fprintf(&w, "default: {mode: auto, source: %s, target: %s, datacenter: %s}\n",
			scalar(string(d.Default.Source)), scalar(string(d.Default.Target)), scalar(string(d.Default.Datacenter)))
	} else {
		fmt.Fprintf(&w, "default: {mode: pinned, datacenter: %s}\n", scalar(string(d.Default.Datacenter)))
	}
	names := make([]string, 0, len(d.Datacenters))
	for _, dc := range d.Datacenters {
		names = append(names, scalar(string(dc)))
	}
	w.flow("datacenters: ", '[', names, ']', "")
	w.section("shards", len(d.Shards))
	for _, name := range slices.Sorted(maps.Keys(d.Shards)) {
		sh := d.Shards[name]
		fmt.Fprintf(&w, "  %s: {datacenter: %s, epoch: %d}\n", scalar(name), scalar(string(sh.Datacenter)), sh.Epoch)
	}
	w.section("homes", len(d.Homes))
	for _, name := range slices.Sorted(maps.Keys(d.Homes)) {
		ranges := make([]string, 0, len(d.Homes[name]))
		for _, r := range d.Homes[name] {
			ranges = append(ranges, `"`+r+`"`)
		}
		w.flow("  "+scalar(name)+": ", '[', ranges, ']', "  ")
	}
	w.section("whitelist", len(d.Whitelist))
	for _, dc := range slices.Sorted(maps.Keys(d.Whitelist)) {
		w.users(dc, d.Whitelist[dc])
	}
	if len(d.Epochs) != 0 {
		runs := make([]string, 0, len(d.Epochs))
		for _, r := range d.Epochs {
			runs = append(runs, fmt.Sprintf("%q: %d", bucketmap.RangeText(r.first, r.last), r.epoch))
		}
		w.flow("epochs: ", '{', runs, '}', "")
	}
	w.section("holds", len(d.Holds))
	for _, h := range d.Holds {
		place := fmt.Sprintf("buckets: %q", h.Buckets)
		if h.Shard != "" {
			place = "shard: " + scalar(h.Shard)
		}
		fmt.Fprintf(&w, "  - {%s, move: %s, until: %s}\n", place, scalar(string(h.Move)), h.Until)
	}
	return w.Bytes(), nil
}

type writer struct{ bytes.Buffer }

func (w *writer) section(name string, entries int) {
	if entries != 0 {
		w.WriteString(name + ":\n")
	}
}

// flow writes a short list on one line, and a long one on as many as it
// needs.
func (w *writer) flow(key string, open byte, items []string, shut byte, indent string) {
	line := strings.Join(items, ", ")
	w.WriteString(key)
	w.WriteByte(open)
	if len(key)+len(line)+2 <= widthMax {
		w.WriteString(line)
		w.WriteByte(shut)
		w.WriteByte('\n')
		return
	}
	column := widthMax // so that the first item begins a line
	for i, item := range items {
		if column+len(item)+2 > widthMax {
			w.WriteString("\n  " + indent)
			column = len(indent) + 2
		} else {
			w.WriteByte(' ')
			column++
		}
		w.WriteString(item)
		column += len(item)
		if i != len(items)-1 {
			w.WriteByte(',')
			column++
		}
	}
	w.WriteString("\n" + indent)
	w.WriteByte(shut)
	w.WriteByte('\n')
}

// users writes one id a line where they do not fit on one: a line more or
// less is then a user more or less.
func (w *writer) users(dc string, ids []string) {
	items := make([]string, 0, len(ids))
	for _, id := range ids {
		items = append(items, scalar(id))
	}
	key := "  " + scalar(dc) + ":"
	line := strings.Join(items, ", ")
	if len(key)+len(line)+3 <= widthMax {
		fmt.Fprintf(w, "%s [%s]\n", key, line)
		return
	}
	w.WriteString(key + "\n")
	for _, item := range items {
		w.WriteString("    - " + item + "\n")
	}
}

// words are those that some reader of YAML takes for something other than a
// string.
var words = []string{"null", "true", "false", "yes", "no", "on", "off", "y", "n"}

// scalar returns a text as a YAML string. text is printable UTF-8. Plain is
// only what no version of YAML takes for anything but a string.
func scalar(text string) string {
	if isPlain(text) && !slices.Contains(words, strings.ToLower(text)) {
		return text
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}

func isPlain(text string) bool {
	for i := range len(text) {
		c := text[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_'
		if !letter && (i == 0 || (c < '0' || c > '9') && c != '-' && c != '.' && c != '@') {
			return false
		}
	}
	return text != ""
}
