package console

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
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

func TestEveryScriptOfThePageIsImportedByAnotherFromAFileThatIsThere(t *testing.T) {
	t.Parallel()
	there, imported := map[string]bool{}, map[string]bool{"main.js": true} // by page.html
	line := regexp.MustCompile(`(?m)^import .* from "(\.{1,2}/[^"]+)";$`)
	must(t, fs.WalkDir(assets, "assets", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || path.Ext(name) != ".js" || strings.HasPrefix(name, "assets/lib/") {
			return err
		}
		there[strings.TrimPrefix(name, "assets/")] = true
		text, err := assets.ReadFile(name)
		if n := strings.Count(string(text), "\nimport ") + strings.Count(string(text), "\n} from "); n != len(line.FindAll(text, -1)) {
			t.Errorf("%s has %d imports, and %d are of the page's own files", name, n, len(line.FindAll(text, -1)))
		}
		for _, match := range line.FindAllSubmatch(text, -1) {
			imported[strings.TrimPrefix(path.Join(path.Dir(name), string(match[1])), "assets/")] = true
		}
		return err
	}))
	if !maps.Equal(there, imported) {
		t.Errorf("there are %v\nimported are %v", slices.Sorted(maps.Keys(there)), slices.Sorted(maps.Keys(imported)))
	}
}
