package faults

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"drover/bucketmap"
	"drover/bucketmap/consul"
	"drover/tools/testservers"
)

const pointer = "pointer"

func history(v bucketmap.Version) string { return fmt.Sprintf("history/%012d", v) }

// consulFaults are what can become of the keys, and of the server.
func consulFaults() []fault {
	faults := append(append(pointerFaults(), keyFaults()...), serverFaults()...)
	for i := range faults {
		faults[i].store = "consul"
	}
	return faults
}

// spoilt changes a key, and puts it back.
func spoilt(name string, key func(w *world) string, change func(w *world, value []byte) []byte) fault {
	return fault{name: name, breaks: func(w *world) {
		k := key(w)
		w.kept[k] = w.keyGet(k)
		if next := change(w, bytes.Clone(w.kept[k])); next != nil {
			w.keyPut(k, next)
		} else {
			w.keyDelete(k)
		}
	}, mend: (*world).putBack}
}

// putBack is the operator's remedy: the keys are what they were.
func (w *world) putBack() {
	for key, value := range w.kept {
		w.keyPut(key, value)
	}
}

func pointerFaults() []fault {
	of := func(name string, change func(w *world, value []byte) []byte) fault {
		return spoilt(name, func(*world) string { return pointer }, change)
	}
	field := func(name string, edit func(w *world, f map[string]any)) fault {
		return of(name, func(w *world, value []byte) []byte {
			var fields map[string]any
			must(w, json.Unmarshal(value, &fields))
			edit(w, fields)
			text, err := json.Marshal(fields)
			must(w, err)
			return text
		})
	}
	return []fault{
		of("the pointer deleted", func(*world, []byte) []byte { return nil }),
		of("the pointer empty", func(*world, []byte) []byte { return []byte{} }),
		of("garbage in the pointer", func(*world, []byte) []byte { return bytes.Repeat([]byte{0xff, 0}, 1000) }),
		of("the pointer cut", func(_ *world, v []byte) []byte { return v[:len(v)/2] }),
		of("an HTML page in the pointer", func(*world, []byte) []byte { return []byte("<html><body>502</body></html>") }),
		of("100,000 brackets in the pointer", func(*world, []byte) []byte { return []byte(strings.Repeat("[", 100_000)) }),
		of("the pointer set back to an older version", func(w *world, _ []byte) []byte { return w.keyGet(history(2)) }),
		field("a pointer of a newer format", func(_ *world, f map[string]any) { f["format"] = 2 }),
		field("a pointer with another digest", func(_ *world, f map[string]any) { f["digest"] = strings.Repeat("0", 64) }),
		field("a pointer to version 9 that nobody published", func(_ *world, f map[string]any) { f["version"], f["deltas"] = 9, 8 }),
		field("a pointer to a map of 2 GiB", func(_ *world, f map[string]any) { f["base"].(map[string]any)["size"] = 2 << 30 }),
		field("a pointer to a chunk outside its folder", func(_ *world, f map[string]any) { f["base"].(map[string]any)["chunks"] = []string{"../../secret"} }),
		of("the pointer of another installation's map", func(w *world, _ []byte) []byte { return w.foreign() }),
	}
}

// foreign is the pointer of another map, elsewhere in the same Consul.
func (w *world) foreign() []byte {
	w.Helper()
	o := w.consulOptions()
	o.Prefix += "-other"
	s, err := consul.Open(o)
	must(w, err)
	defer func() { must(w, s.Close()) }()
	now := w.maps[1]
	for v := 1; v < good+3; v++ {
		must(w, s.Publish(w.Context(), now, bucketmap.Change{Who: "another"}))
		now = w.after(now, func(d *bucketmap.Draft) { d.Whitelist["other"] = "legacy" })
	}
	pair, _, err := w.kv().Get(o.Prefix+"/"+pointer, nil)
	must(w, err)
	return pair.Value
}

func keyFaults() []fault {
	chunk := func(w *world) string { return w.keys("chunks")[0] }
	silent := func(f fault) fault { f.quiet = true; return f }
	record := func(*world) string { return history(2) }
	return []fault{
		silent(spoilt("a chunk missing", chunk, func(*world, []byte) []byte { return nil })),
		silent(spoilt("a chunk cut", chunk, func(_ *world, v []byte) []byte { return v[:len(v)-1] })),
		silent(spoilt("a bit of a chunk flipped", chunk, func(_ *world, v []byte) []byte { v[60] ^= 1; return v })),
		silent(spoilt("a chunk of another map in its place", chunk, func(w *world, _ []byte) []byte {
			w.foreign()
			names, _, err := w.kv().Keys(w.prefix+"-other/chunks/", "", nil)
			must(w, err)
			pair, _, err := w.kv().Get(names[0], nil)
			must(w, err)
			return append(pair.Value, 0) // the first version is the same in both
		})),
		silent(spoilt("a record of the history missing", record, func(*world, []byte) []byte { return nil })),
		silent(spoilt("a record of the history in another's place", record, func(w *world, _ []byte) []byte { return w.keyGet(history(3)) })),
		{name: "every key deleted", breaks: func(w *world) {
			for _, folder := range []string{"history", "chunks"} {
				for _, key := range w.keys(folder) {
					w.kept[key] = w.keyGet(key)
				}
			}
			w.kept[pointer] = w.keyGet(pointer)
			_, err := w.kv().DeleteTree(w.prefix+"/", nil)
			must(w, err)
		}, mend: (*world).putBack},
		{name: "the next version published without a signature", signed: true, breaks: func(w *world) { w.publishAs(nil) }, mend: (*world).setBack},
		{name: "the next version signed by an unknown key", signed: true, breaks: func(w *world) { w.publishAs(w.stranger()) }, mend: (*world).setBack},
	}
}

func serverFaults() []fault {
	own := func(name string, options testservers.ConsulOptions) func(*world) *testservers.Consul {
		return func(w *world) *testservers.Consul {
			server, err := shared.fleet.Consul(w.Context(), name, options)
			must(w, err)
			w.Cleanup(func() { must(w, server.Kill()) })
			return server
		}
	}
	restart := func(w *world) { must(w, w.consul.Restart(w.Context())) }
	return []fault{
		{name: "Consul killed", own: own("killed", testservers.ConsulOptions{}), breaks: func(w *world) { must(w, w.consul.Kill()) }, mend: restart},
		{name: "Consul restarted", own: own("restarted", testservers.ConsulOptions{}), breaks: func(w *world) {
			must(w, w.consul.Stop())
			restart(w)
		}, quiet: true, quietStart: true},
		{name: "the token no longer valid", own: own("denied", testservers.ConsulOptions{ACL: true}), breaks: func(w *world) {
			w.write("token", "5ea1f00d-0000-4000-8000-000000000000")
			w.endQuery()
		}, mend: func(w *world) { w.write("token", testservers.ConsulToken) }},
		{name: "something else answers at Consul's address", own: own("other", testservers.ConsulOptions{}), breaks: (*world).impostor, mend: func(w *world) {
			w.takeAway()
			restart(w)
		}},
	}
}

// endQuery makes Consul answer the blocking query under way, which was allowed
// when it began: the next one comes with the new token.
func (w *world) endQuery() {
	w.kept[pointer] = w.keyGet(pointer)
	w.keyPut(pointer, append(bytes.Clone(w.kept[pointer]), '\n'))
}
