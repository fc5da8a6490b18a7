package main

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"drover/bucketmap/binary"
)

// An edge of before kept YAML.
func TestACacheInYAMLIsStillRead(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	text, err := os.ReadFile(filepath.Join(r.config.Map.Dir, "map.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.stop(), os.RemoveAll(r.config.Map.Dir)); err != nil {
		t.Fatal(err)
	}
	writeFile(t, r.config.Map.Dir, "a file where the folder was")
	writeFile(t, r.config.Map.Cache, string(text))
	r.start()
	r.want(r.get("ann"), 200, "legacy")
}

func TestATornOrForeignCacheIsNotUsedAndNamedInTheLog(t *testing.T) {
	t.Parallel()
	whole := binary.Append(nil, aMap(t), nil)
	flipped := bytes.Clone(whole)
	flipped[len(flipped)-1] ^= 1
	for name, content := range map[string][]byte{
		"torn": whole[:len(whole)-3], "flipped": flipped, "longer": append(bytes.Clone(whole), 0),
		"empty": {}, "foreign": []byte("\x7fELF\x00\x01\x02"), "delta": []byte("\x89DRM\x01\x02"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := prepareRig(t, nil)
			if err := os.RemoveAll(r.config.Map.Dir); err != nil {
				t.Fatal(err)
			}
			writeFile(t, r.config.Map.Dir, "a file where the folder is to be")
			writeFile(t, r.config.Map.Cache, string(content))
			r.start()
			r.eventually("the log names it", func() bool {
				return strings.Contains(r.log.String(), "the last good map cannot be used") && strings.Contains(r.log.String(), r.config.Map.Cache)
			})
			if got := r.get("ann"); got.status != http.StatusServiceUnavailable {
				t.Errorf("got %v", got)
			}
			if got := r.metric("drover_proxy_map_cache_errors_total"); got != 1 {
				t.Errorf("counted %v", got)
			}
		})
	}
}
