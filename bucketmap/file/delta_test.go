package file

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/binary"
	"drover/bucketmap/storetest"
)

// watchOf is a watch that reported a map, and what it reports then.
func watchOf(s *Store, last *bucketmap.Snapshot) (*mapWatch, *[]call) {
	calls := new([]call)
	return &mapWatch{
		store: s, last: last, started: last != nil,
		changed: func(m *bucketmap.Snapshot, err error) { *calls = append(*calls, call{m, err}) },
	}, calls
}

func TestAVersionIsReachedByItsDelta(t *testing.T) {
	s := quick(t, t.TempDir())
	first := storetest.First(t)
	publish(t, s, first)
	w, calls := watchOf(s, first)
	now := first
	for i := range 2 * climbMax {
		now = with(t, now, fmt.Sprintf("emp-x%d", i))
		publish(t, s, now)
		// Nothing else says that it is complete.
		must(t, os.Remove(s.historyPath(now.Version(), contentSuffix)))
		if w.look(false) || len(*calls) != i+1 || !(*calls)[i].snapshot.Equal(now) {
			t.Fatalf("version %d waits, or another map was reported", now.Version())
		}
		writeHistory(t, s, now) // for the next publisher
	}
}

func writeHistory(t *testing.T, s *Store, m *bucketmap.Snapshot) {
	t.Helper()
	must(t, os.WriteFile(s.historyPath(m.Version(), contentSuffix), []byte(encode(t, m)), 0o600))
}

func TestAWatchThatMissedVersionsClimbsOverAFew(t *testing.T) {
	s := quick(t, t.TempDir())
	maps := []*bucketmap.Snapshot{storetest.First(t)}
	publish(t, s, maps[0])
	for i := range climbMax + 1 {
		maps = append(maps, with(t, maps[i], fmt.Sprintf("emp-x%d", i)))
		publish(t, s, maps[i+1])
	}
	newest := maps[len(maps)-1]
	for missed, last := range maps[:len(maps)-1] {
		w, calls := watchOf(s, last)
		now := s.read()
		climbed := w.climb(now, now.key())
		if far := newest.Version()-last.Version() > climbMax; far != (climbed == nil) || !far && !climbed.Equal(newest) {
			t.Errorf("from map %d: climbed to %v", missed, climbed)
		}
		if w.look(false) || len(*calls) != 1 || !(*calls)[0].snapshot.Equal(newest) {
			t.Errorf("from map %d: another map was reported", missed)
		}
	}
}

// spoiled are delta files of version 2 that are not what its publisher wrote.
func spoiled(t *testing.T, good []byte, first, second *bucketmap.Snapshot) map[string][]byte {
	t.Helper()
	deltaOf := func(from, to *bucketmap.Snapshot) []byte {
		return binary.AppendDelta(bytes.Clone(good[:sha256.Size]), binary.MakeDelta(from, to), nil)
	}
	other := with(t, first, "somebody")
	lying := binary.MakeDelta(first, second)
	lying.Difference = binary.MakeDelta(first, other).Difference
	files := map[string][]byte{
		"empty":                        {},
		"the sum alone":                good[:sha256.Size],
		"the delta alone":              good[sha256.Size:],
		"something after it":           append(bytes.Clone(good), 0),
		"zeros":                        make([]byte, len(good)),
		"twice":                        append(bytes.Clone(good), good...),
		"too long":                     make([]byte, deltaBytesMax+1),
		"from another map":             deltaOf(other, second),
		"from no map":                  deltaOf(nil, second),
		"to a later version":           deltaOf(first, with(t, second, "emp-3")),
		"not to what it says":          binary.AppendDelta(bytes.Clone(good[:sha256.Size]), lying, nil),
		"of a publisher that gave up":  encodeDelta(first, other, []byte(encode(t, other))),
		"the map instead of the delta": binary.Append(bytes.Clone(good[:sha256.Size]), second, nil),
	}
	for i := range good {
		flipped := bytes.Clone(good)
		flipped[i] ^= 1 << (i % 8)
		files[fmt.Sprintf("a bit of byte %d", i)] = flipped
		files[fmt.Sprintf("the first %d bytes", i)] = good[:i]
	}
	return files
}

func TestWhateverADeltaFileHoldsTheMapOfTheFolderIsReported(t *testing.T) {
	s := quick(t, t.TempDir())
	first := storetest.First(t)
	second := with(t, first, "emp-2")
	publish(t, s, first)
	publish(t, s, second)
	path := s.historyPath(2, deltaSuffix)
	good, err := os.ReadFile(path)
	must(t, err)
	look := func(what string) {
		t.Helper()
		w, calls := watchOf(s, first)
		now := s.read()
		if w.climb(now, now.key()) != nil {
			t.Errorf("%s: used", what)
		}
		if w.look(false) || len(*calls) != 1 || !(*calls)[0].snapshot.Equal(second) {
			t.Errorf("%s: the map waits, or another was reported", what)
		}
	}
	for what, data := range spoiled(t, good, first, second) {
		must(t, os.WriteFile(path, data, 0o600))
		look(what)
	}
	must(t, os.Remove(path))
	look("missing")
	must(t, os.Mkdir(path, 0o700))
	look("a folder")
	must(t, os.Remove(path))
	inPlace(t, path)
	look("a pipe")
}

func TestADeltaIsNotUsedForAnEditByHand(t *testing.T) {
	dir := t.TempDir()
	s := quick(t, dir)
	first := storetest.First(t)
	second := with(t, first, "emp-2")
	publish(t, s, first)
	publish(t, s, second)
	edited := with(t, first, "by-hand") // version 2 as well
	for what, text := range map[string]string{
		"another map":             encode(t, edited),
		"half the map":            encode(t, second)[:len(encode(t, second))/2],
		"a blank more":            encode(t, second) + "\n",
		"a comment before":        "# by hand\n" + encode(t, second),
		"a comment after":         encode(t, second) + "# by hand\n",
		"another way of the same": "---\n" + encode(t, second),
	} {
		w, calls := watchOf(s, first)
		writeMap(t, dir, text)
		if !w.look(false) || len(*calls) != 0 {
			t.Errorf("%s: reported at once", what)
		}
		w.look(true)
		if want, err := s.Load(t.Context()); len(*calls) != 1 || (err == nil) != ((*calls)[0].err == nil) || !(*calls)[0].snapshot.Equal(want) {
			t.Errorf("%s: reported %+v", what, *calls)
		}
	}
}

func TestNoDeltaIsWrittenThatIsOfNoUse(t *testing.T) {
	first := storetest.First(t)
	second := with(t, first, "emp-2")
	text := []byte(encode(t, second))
	for what, got := range map[string][]byte{
		"from nothing":            encodeDelta(nil, first, []byte(encode(t, first))),
		"for the text of another": encodeDelta(first, second, []byte(encode(t, with(t, first, "somebody")))),
		"for no map":              encodeDelta(first, second, text[:len(text)/2]),
	} {
		if got != nil {
			t.Errorf("%s: %d bytes", what, len(got))
		}
	}
	d := second.Edit()
	for i := range 2 * deltaBytesMax / bucketmap.UserIDMax {
		id := bytes.Repeat([]byte(fmt.Sprintf("%x", sha256.Sum256(fmt.Append(nil, i)))), bucketmap.UserIDMax/64)
		d.Whitelist[string(id)] = "cloud"
	}
	large, err := d.Snapshot()
	must(t, err)
	s := quick(t, t.TempDir())
	for _, m := range []*bucketmap.Snapshot{first, second, large} {
		publish(t, s, m)
	}
	if found, err := filepath.Glob(filepath.Join(s.historyDir(), "*"+deltaSuffix)); err != nil || len(found) != 1 {
		t.Errorf("delta files %v, %v", found, err)
	}
}

func TestADeltaThatCannotBeWrittenStopsNoPublication(t *testing.T) {
	s := quick(t, t.TempDir())
	first := storetest.First(t)
	publish(t, s, first)
	must(t, os.MkdirAll(filepath.Join(s.historyPath(2, deltaSuffix), "in the way"), 0o700))
	second := with(t, first, "emp-2")
	publish(t, s, second)
	checkHistory(t, "without a delta", s, first, second)
}

func TestVersionOfReadsWhatEncodeBeginsWith(t *testing.T) {
	first := storetest.First(t)
	for text, want := range map[string]bucketmap.Version{
		encode(t, first):             1,
		"version: 999999999999\nx":   bucketmap.VersionMax,
		"version: 17":                17,
		"version: 9999999999999\nx":  9999999999999, // too high for a map, and no climb is that long
		"version: 99999999999999\nx": 9999999999999,
		"version: -1\n":              0,
		"version: \n":                0,
		"version: 1 \n":              0,
		"version:1\n":                0,
		" version: 1\n":              0,
		"":                           0,
	} {
		if got, ok := versionOf([]byte(text)); got != want || ok != (want != 0) {
			t.Errorf("%.30q: %d, %v, want %d", text, got, ok, want)
		}
	}
}

func TestAnAcknowledgementIsTheJSONThatMarshalWrites(t *testing.T) {
	digest := storetest.First(t).Digest()
	for _, a := range []ack{
		{},
		{Proxy: "p1", Version: 17, Digest: digest, Since: time.Unix(1, 0).UTC()},
		{Proxy: "p1", Version: bucketmap.VersionMax, Digest: digest, Since: time.Unix(1, 123456000).UTC(), Refused: 18, Reason: "older than its own"},
		{Proxy: "a<b", Since: time.Unix(1, 1).UTC(), Reason: "\"quoted\" \\ <&> \n\x00\x7f é \u2028 \xff"},
	} {
		got, err := a.appendTo([]byte("before"))
		must(t, err)
		a.Check, err = a.sum()
		must(t, err)
		want, err := json.Marshal(a)
		must(t, err)
		if string(got) != "before"+string(want)+"\n" {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	if _, err := (ack{Since: time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC)}).appendTo(nil); err == nil {
		t.Error("a year that JSON cannot tell is written")
	}
}
