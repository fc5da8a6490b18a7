package faults

import (
	"errors"
	"math"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"drover/bucketmap"
	"drover/bucketmap/binary"
	"drover/bucketmap/yaml"
)

// diskFaults are what can become of the folder, the disk and the cache.
func diskFaults() []fault {
	faults := append(folderFaults(), cacheFaults()...)
	for i := range faults {
		faults[i].store = "file"
	}
	return faults
}

func folder(w *world) string { return w.path("map") }

func (w *world) history() string { return w.path("map", "history") }

// away takes a file or folder away; then may put something in its place.
func away(path func(*world) string, then func(path string) error) func(*world) {
	return func(w *world) {
		w.Helper()
		must(w, os.Rename(path(w), path(w)+"-away"))
		if then != nil {
			must(w, then(path(w)))
		}
	}
}

func back(path func(*world) string) func(*world) {
	return func(w *world) {
		w.Helper()
		must(w, os.RemoveAll(path(w)))
		must(w, os.Rename(path(w)+"-away", path(w)))
	}
}

func folderFaults() []fault {
	mapFile := (*world).mapFile
	replaced := func(name string, path func(*world) string, then func(path string) error) fault {
		return fault{name: name, breaks: away(path, then), mend: back(path)}
	}
	mode := func(path func(*world) string, mode os.FileMode) func(*world) {
		return func(w *world) { must(w, os.Chmod(path(w), mode)) }
	}
	link := func(to string) func(string) error {
		return func(path string) error { return os.Symlink(to, path) }
	}
	directory := func(path string) error { return os.Mkdir(path, 0o755) }
	pipe := func(path string) error { return unix.Mkfifo(path, 0o644) }
	someFile := func(path string) error { return os.WriteFile(path, []byte("x"), 0o644) }
	return []fault{
		replaced("the folder gone", folder, nil),
		replaced("a file where the folder was", folder, someFile),
		replaced("an empty folder in its place", folder, directory),
		replaced("map.yaml deleted", mapFile, nil),
		replaced("map.yaml replaced by a folder", mapFile, directory),
		replaced("map.yaml a link to nothing", mapFile, link("/nonexistent/map.yaml")),
		replaced("map.yaml a link to itself", mapFile, link("map.yaml")),
		replaced("map.yaml has 100 MiB", mapFile, func(path string) error {
			return errors.Join(os.WriteFile(path, nil, 0o644), os.Truncate(path, 100<<20))
		}),
		replaced("map.yaml has 2 GiB, all of them a hole", mapFile, func(path string) error {
			return errors.Join(os.WriteFile(path, nil, 0o644), os.Truncate(path, 2<<30))
		}),
		replaced("map.yaml a pipe that nobody writes to", mapFile, pipe),
		replaced("map.yaml a link to a device without an end", mapFile, link("/dev/zero")),
		{name: "the history's folder a pipe", quiet: true, quietStart: true, breaks: away((*world).history, pipe), mend: back((*world).history)},
		{name: "map.yaml may not be read", denied: true, breaks: mode(mapFile, 0), mend: mode(mapFile, 0o644)},
		{name: "the folder may not be entered", denied: true, breaks: mode(folder, 0), mend: mode(folder, 0o755)},
		{name: "no room on the disk, and a good version comes", breaks: (*world).fill, quietStart: true,
			mend: func(w *world) { w.edge.kill(); w.start() }},
	}
}

// fill leaves the proxy no room for a byte in any file, as a full disk does,
// and publishes the next version from where there is room.
func (w *world) fill() {
	w.Helper()
	w.full = true
	must(w, unix.Prlimit(w.edge.cmd.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 0, Max: math.MaxUint64}, nil))
	w.store(func(s bucketmap.Store) {
		must(w, s.Publish(w.Context(), w.maps[good+1], bucketmap.Change{Who: "test", Why: "good"}))
	})
}

func cacheFaults() []fault {
	gone := func(w *world) { must(w, os.Remove(w.path("cache"))) }
	cut := func(w *world) { w.changeCache(func(data []byte) []byte { return data[:len(data)/2] }) }
	changed := func(name string, change func(w *world, data []byte) []byte) fault {
		return fault{name: name, quietStart: true, asleep: func(w *world) {
			w.changeCache(func(data []byte) []byte { return change(w, data) })
		}}
	}
	anew := func(w *world) { w.edge.kill(); gone(w); w.start() }
	both := func(cache, store func(*world)) func(*world) {
		return func(w *world) { cache(w); store(w) }
	}
	garbage := func(path string) error { return os.WriteFile(path, []byte("version: ["), 0o644) }
	other := changed("the cache of a map with another bucket count", func(w *world, _ []byte) []byte { return w.twice() })
	other.mend, other.quietStart = anew, false
	newer := changed("the cache newer than the store, which was restored", func(w *world, _ []byte) []byte {
		return binary.Append(nil, w.maps[good+2], nil)
	})
	newer.quietStart = false
	newer.mend = func(w *world) {
		w.store(func(s bucketmap.Store) {
			for v := bucketmap.Version(good + 1); v <= good+2; v++ {
				must(w, s.Publish(w.Context(), w.maps[v], bucketmap.Change{Who: "test", Why: "good"}))
			}
		})
	}
	return []fault{
		{name: "the cache gone", quietStart: true, asleep: gone},
		{name: "the cache torn", quietStart: true, asleep: cut},
		changed("the cache empty", func(*world, []byte) []byte { return nil }),
		changed("a bit of the cache flipped", func(_ *world, data []byte) []byte { data[len(data)-3] ^= 1; return data }),
		changed("garbage in the cache", func(*world, []byte) []byte { return []byte(strings.Repeat("\xff\x00", 1000)) }),
		{name: "a pipe where the cache was", quietStart: true, asleep: both(gone, func(w *world) { must(w, unix.Mkfifo(w.path("cache"), 0o644)) })},
		{name: "a folder where the cache was", quietStart: true, asleep: both(gone, func(w *world) { must(w, os.Mkdir(w.path("cache"), 0o755)) }),
			mend: func(w *world) { must(w, os.Remove(w.path("cache"))) }},
		changed("the cache of a map for a datacenter that is not there", func(w *world, _ []byte) []byte {
			return binary.Append(nil, w.after(w.maps[good], func(d *bucketmap.Draft) {
				d.Datacenters = append(d.Datacenters, "mars")
				d.Whitelist["elon"] = "mars"
			}), nil)
		}),
		changed("the cache older than the store", func(w *world, _ []byte) []byte { return binary.Append(nil, w.maps[2], nil) }),
		newer,
		other,
		{name: "the cache gone, and the folder", blank: true, quietStart: true, asleep: both(gone, away(folder, nil)), mend: back(folder)},
		{name: "the cache torn, and the folder gone", blank: true, quietStart: true, asleep: both(cut, away(folder, nil)), mend: back(folder)},
		{name: "the cache torn, and garbage in map.yaml", blank: true, quietStart: true, asleep: both(cut, away((*world).mapFile, garbage)), mend: back((*world).mapFile)},
	}
}

func (w *world) changeCache(change func([]byte) []byte) {
	w.Helper()
	data, err := os.ReadFile(w.path("cache"))
	must(w, err)
	must(w, os.WriteFile(w.path("cache"), change(data), 0o644))
}

// twice is a map of twice the buckets that sends everybody where the good one
// does.
func (w *world) twice() []byte {
	w.Helper()
	s, err := yaml.Decode([]byte(w.edited("version: 4", "version: 7", "buckets: 64", "buckets: 128",
		"\"0-31\"", "\"0-31\", \"64-95\"", "\"32-63\"", "\"32-63\", \"96-127\"")))
	must(w, err)
	return binary.Append(nil, s, nil)
}
