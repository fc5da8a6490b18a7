package yaml

import (
	"fmt"
	"strings"
	"testing"

	"drover/bucketmap"
)

// checkBothReadTheSame says whether the short way read the document; then the
// library must read the same map.
func checkBothReadTheSame(t testing.TB, data []byte) bool {
	t.Helper()
	own, ok := decodeOwn(data)
	if !ok {
		return false
	}
	want, err := decodeAny(data)
	if err != nil {
		t.Fatalf("the library refuses what the short way reads: %v\n%s", err, data)
	}
	if !own.Equal(want) || own.Digest() != want.Digest() {
		t.Fatalf("the short way reads another map: %s\n%s", bucketmap.Diff(want, own), data)
	}
	return true
}

// The longest has 15,000 buckets, and 50,000 with DROVER_SOAK=1.
func TestWhatWasEncodedIsReadTheShortWay(t *testing.T) {
	for name, s := range map[string]*bucketmap.Snapshot{
		"all sections": mustDecode(t, example),
		"smallest":     mustDecode(t, "version: 1\nbuckets: 1\ndefault: {mode: pinned, datacenter: a}\ndatacenters: [a]\n"),
		"odd users":    withUsers(t, "a", " ", "true", `\`, `"`, "it's", "\xff\x00", "[,]{}:", "日本語", "#", "- a", "1"),
		"large":        bigMap(t, 5000, 3000),
		"larger":       bigMap(t, rounds(15_000, 50_000), 0),
	} {
		t.Run(name, func(t *testing.T) {
			if !checkBothReadTheSame(t, []byte(mustEncode(t, s))) {
				t.Error("left to the library")
			}
		})
	}
}

func TestWhatPeopleChangedIsLeftToTheLibrary(t *testing.T) {
	for name, text := range map[string]string{
		"a comment":                 "# why\n" + example,
		"a comment at the end":      example + "# why\n",
		"cut off":                   example[:len(example)-2],
		"carriage returns":          strings.ReplaceAll(example, "\n", "\r\n"),
		"another order of ranges":   strings.Replace(example, `"0-511", "600"`, `"600", "0-511"`, 1),
		"ranges that could be one":  strings.Replace(example, `"0-511"`, `"0-499", "500-511"`, 1),
		"ranges over one another":   strings.Replace(example, `"512-599"`, `"511-599"`, 1),
		"a bucket that is not":      strings.Replace(example, `"600"`, `"1024"`, 1),
		"a range backwards":         strings.Replace(example, `"0-511"`, `"511-0"`, 1),
		"a leading zero":            strings.Replace(example, "version: 12", "version: 012", 1),
		"no comma":                  strings.Replace(example, `"12345", emp-1`, `"12345" emp-1`, 1),
		"a user twice":              strings.Replace(example, "emp-1,", "emp-1, emp-1,", 1),
		"quotes that need not be":   strings.Replace(example, "emp-1", `"emp-1"`, 1),
		"first epochs":              strings.Replace(example, `"17": 2`, `"16": 1, "17": 2`, 1),
		"an unknown shard":          strings.Replace(example, "beta: [", "gamma: [", 1),
		"a shard twice":             strings.Replace(example, "  beta: {", "  alpha: {datacenter: legacy, epoch: 1}\n  beta: {", 1),
		"an unknown section":        example + "more: 1\n",
		"a number of 21 digits":     strings.Replace(example, "moved: 600", "moved: 600000000000000000000", 1),
		"a datacenter that is not":  strings.Replace(example, "target: cloud", "target: clout", 1),
		"no datacenters":            strings.Replace(example, "datacenters: [cloud, legacy]\n", "", 1),
		"a time of another zone":    strings.Replace(example, "10:00:00.123Z", "11:00:00.123+01:00", 1),
		"buckets beyond the bound":  strings.Replace(example, "buckets: 1024", "buckets: 1048577", 1),
		"no buckets":                strings.Replace(example, "buckets: 1024", "buckets: 0", 1),
		"a quote that is not ended": strings.Replace(example, `"hex:ff00"`, `"hex:ff00`, 1),
		"nothing":                   "",
	} {
		t.Run(name, func(t *testing.T) {
			if text == example {
				t.Fatal("nothing was changed")
			}
			if _, ok := decodeOwn([]byte(text)); ok {
				t.Error("read the short way, though it is not what Encode writes")
			}
		})
	}
}

func TestAnyByteChangedIsReadAsTheLibraryReadsIt(t *testing.T) {
	for i := range len(example) {
		for _, c := range []byte("0\"\\ ,:[}\n-x") {
			data := []byte(example)
			data[i] = c
			checkBothReadTheSame(t, data)
		}
	}
}

func TestShortDocumentsOfLongRangesAreRefusedSoon(t *testing.T) {
	head := fmt.Sprintf("version: 1\nbuckets: %d\ndefault: {mode: pinned, datacenter: a}\ndatacenters: [a]\n", bucketmap.BucketsMax)
	all := fmt.Sprintf(`"0-%d"`, bucketmap.BucketsMax-1)
	for name, text := range map[string]string{
		"homes":  head + "shards:\n  s: {datacenter: a, epoch: 1}\nhomes:\n  s: [" + strings.Repeat(all+", ", 100_000) + "]\n",
		"epochs": head + "epochs: {" + strings.Repeat(all+": 2, ", 100_000) + "}\n",
	} {
		// 10^11 steps would take minutes; the test's own bound finds them.
		if _, ok := decodeOwn([]byte(text)); ok {
			t.Errorf("%s: read", name)
		}
	}
}
