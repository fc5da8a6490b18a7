package console

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"testing"
)

func TestTheChartLibraryIsTheOneThatIsWrittenDown(t *testing.T) {
	t.Parallel()
	text, err := assets.ReadFile("assets/lib/VERSIONS.txt")
	must(t, err)
	n := 0
	for _, match := range regexp.MustCompile(`(?m)^([0-9a-f]{64})  (\S+)$`).FindAllStringSubmatch(string(text), -1) {
		file, err := assets.ReadFile("assets/lib/" + match[2])
		must(t, err)
		if sum := sha256.Sum256(file); hex.EncodeToString(sum[:]) != match[1] {
			t.Errorf("%s has the hash %x", match[2], sum)
		}
		n++
	}
	entries, err := assets.ReadDir("assets/lib")
	must(t, err)
	if n != len(entries)-1 {
		t.Errorf("%d files have a hash, of %d", n, len(entries)-1)
	}
}

func TestThePageLoadsNothingFromElsewhereAndHasNothingInline(t *testing.T) {
	t.Parallel()
	bad := regexp.MustCompile(`(?i)\sstyle=|\son[a-z]+=|<script>|<style|innerHTML|(src|href|from)\s*=?\s*"(https?:)?//`)
	must(t, fs.WalkDir(assets, "assets", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasPrefix(name, "assets/lib/") {
			return err
		}
		text, err := assets.ReadFile(name)
		if found := bad.Find(text); found != nil && path.Ext(name) == ".html" || strings.Contains(string(found), "//") || strings.Contains(string(found), "innerHTML") {
			t.Errorf("%s has %q", name, found)
		}
		return err
	}))
}
