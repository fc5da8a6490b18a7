package yaml

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
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
	d := small(s)
	for _, sh := range s.Shards() {
		d.Shards[string(sh.Name)] = shard{sh.Datacenter, sh.Epoch}
	}
	for r := range s.Runs() {
		if r.Shard != "" {
			d.Homes[string(r.Shard)] = append(d.Homes[string(r.Shard)], bucketmap.RangeText(r.First, r.Last))
		}
	}
	return d
}

// small is the document but for shards and homes, which are most of it.
func small(s *bucketmap.Snapshot) *document {
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
	var w writer
	w.document(s)
	return w.out.Bytes(), nil
}

// encodesTo says whether data is what Encode returns.
func encodesTo(s *bucketmap.Snapshot, data []byte) bool {
	w := writer{comparing: true, want: data}
	w.document(s)
	return !w.differs && len(w.want) == 0
}

func (w *writer) document(s *bucketmap.Snapshot) {
	d := small(s)
	fmt.Fprintf(w, "version: %d\n", d.Version)
	if d.Moved != 0 {
		fmt.Fprintf(w, "moved: %d\n", d.Moved)
	}
	fmt.Fprintf(w, "buckets: %d\n", d.Buckets)
	if d.Default.Mode == "auto" {
		fmt.Fprintf(w, "default: {mode: auto, source: %s, target: %s, datacenter: %s}\n",
			scalar(string(d.Default.Source)), scalar(string(d.Default.Target)), scalar(string(d.Default.Datacenter)))
	} else {
		fmt.Fprintf(w, "default: {mode: pinned, datacenter: %s}\n", scalar(string(d.Default.Datacenter)))
	}
	var names list
	for _, dc := range d.Datacenters {
		names.text = append(names.text, scalar(string(dc))...)
		names.end()
	}
	w.flow("datacenters: ", "[", &names, "]", "")
	content := s.Content()
	w.section("shards", len(content.Shards))
	for _, sh := range content.Shards {
		fmt.Fprintf(w, "  %s: {datacenter: %s, epoch: %d}\n", scalar(string(sh.Name)), scalar(string(sh.Datacenter)), sh.Epoch)
	}
	w.homes(content)
	w.section("whitelist", len(d.Whitelist))
	for _, dc := range slices.Sorted(maps.Keys(d.Whitelist)) {
		w.users(dc, d.Whitelist[dc])
	}
	if len(d.Epochs) != 0 {
		var runs list
		for _, r := range d.Epochs {
			runs.span(r.first, r.last)
			runs.text = append(runs.text, ": "...)
			runs.text = strconv.AppendUint(runs.text, uint64(r.epoch), 10)
			runs.end()
		}
		w.flow("epochs: ", "{", &runs, "}", "")
	}
	w.section("holds", len(d.Holds))
	for _, h := range d.Holds {
		place := fmt.Sprintf("buckets: %q", h.Buckets)
		if h.Shard != "" {
			place = "shard: " + scalar(h.Shard)
		}
		fmt.Fprintf(w, "  - {%s, move: %s, until: %s}\n", place, scalar(string(h.Move)), h.Until)
	}
}

// writer keeps what is written, or compares it.
type writer struct {
	out       bytes.Buffer
	comparing bool
	want      []byte // of comparing: what is to come
	differs   bool
}

func (w *writer) Write(p []byte) (int, error) {
	if !w.comparing {
		return w.out.Write(p)
	}
	rest, same := bytes.CutPrefix(w.want, p)
	w.want, w.differs = rest, w.differs || !same
	return len(p), nil
}

func (w *writer) WriteString(text string) {
	if w.comparing {
		same := len(w.want) >= len(text) && string(w.want[:len(text)]) == text
		if w.differs = w.differs || !same; same {
			w.want = w.want[len(text):]
		}
		return
	}
	w.out.WriteString(text)
}

func (w *writer) section(name string, entries int) {
	if entries != 0 {
		w.WriteString(name + ":\n")
	}
}

// run is a range of buckets of one shard.
type run struct {
	first, last bucketmap.BucketID
	home        uint16 // as in bucketmap.Content
}

// runs are the longest that there are, without those of no home.
func runs(homes []uint16) iter.Seq[run] {
	return func(yield func(run) bool) {
		for first := 0; first < len(homes); {
			home, end := homes[first], first+1
			for end < len(homes) && homes[end] == home {
				end++
			}
			if home != 0 && !yield(run{bucketmap.BucketID(first), bucketmap.BucketID(end - 1), home}) {
				return
			}
			first = end
		}
	}
}

// homes writes each shard's ranges. A map has very many of them, so they are
// put in order by counting.
func (w *writer) homes(c bucketmap.Content) {
	begins := make([]int, len(c.Shards)+2) // of each home, in order
	for r := range runs(c.Homes) {
		begins[r.home+1]++
	}
	for home := 1; home < len(begins); home++ {
		begins[home] += begins[home-1]
	}
	inOrder, next := make([]run, begins[len(begins)-1]), slices.Clone(begins)
	for r := range runs(c.Homes) {
		inOrder[next[r.home]] = r
		next[r.home]++
	}
	w.section("homes", len(inOrder))
	if !w.comparing {
		w.out.Grow(len(inOrder) * len(`"1048575", `))
	}
	var items list
	for i, s := range c.Shards {
		own := inOrder[begins[i+1]:begins[i+2]]
		if len(own) == 0 {
			continue
		}
		items.text, items.ends = items.text[:0], items.ends[:0]
		for _, r := range own {
			items.span(r.first, r.last)
			items.end()
		}
		w.flow("  "+scalar(string(s.Name))+": ", "[", &items, "]", "  ")
	}
}

// list is the items of a flow, one after the other.
type list struct {
	text []byte
	ends []int
}

// end ends an item.
func (l *list) end() { l.ends = append(l.ends, len(l.text)) }

// span is bucketmap.RangeText in quotes.
func (l *list) span(first, last bucketmap.BucketID) {
	l.text = strconv.AppendUint(append(l.text, '"'), uint64(first), 10)
	if first != last {
		l.text = strconv.AppendUint(append(l.text, '-'), uint64(last), 10)
	}
	l.text = append(l.text, '"')
}

// flow writes a short list on one line, and a long one on as many as it
// needs.
func (w *writer) flow(key string, open string, items *list, shut string, indent string) {
	w.WriteString(key)
	w.WriteString(open)
	const comma = len(", ")
	oneLine := len(key)+len(items.text)+comma*max(0, len(items.ends)-1)+2 <= widthMax
	column := widthMax // so that the first item begins a line
	begin := 0
	for i, end := range items.ends {
		item := items.text[begin:end]
		begin = end
		switch {
		case oneLine && i == 0:
		case oneLine, column+len(item)+comma <= widthMax:
			w.WriteString(" ")
			column++
		default:
			w.WriteString("\n  ")
			w.WriteString(indent)
			column = len(indent) + 2
		}
		_, _ = w.Write(item) // into memory
		column += len(item)
		if i != len(items.ends)-1 {
			w.WriteString(",")
			column++
		}
	}
	if !oneLine {
		w.WriteString("\n")
		w.WriteString(indent)
	}
	w.WriteString(shut)
	w.WriteString("\n")
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
	return `"` + strings.ReplaceAll(strings.ReplaceAll(text, `\`, `\\`), `"`, `\"`) + `"`
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
