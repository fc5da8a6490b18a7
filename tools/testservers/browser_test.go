package testservers

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAScriptDrivesTheBrowserAndItsFailureIsAnError(t *testing.T) {
	t.Parallel()
	b, err := InstallBrowser(t.Context(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(t.TempDir(), "script.mjs")
	text := `import { createRequire } from "node:module";
import { text } from "node:stream/consumers";
const { chromium } = createRequire(import.meta.url)(process.env.PLAYWRIGHT_CORE);
const input = JSON.parse(await text(process.stdin));
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
const page = await browser.newPage();
await page.setContent(input.html);
const said = await page.textContent("p");
await browser.close();
if (said === "fail") throw new Error("as it was told");
console.log(JSON.stringify({ said }));
`
	if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out struct{ Said string }
	if err := b.Run(t.Context(), script, map[string]string{"html": "<p>hello</p>"}, &out); err != nil || out.Said != "hello" {
		t.Errorf("%q: %v", out.Said, err)
	}
	if err := b.Run(t.Context(), script, map[string]string{"html": "<p>fail</p>"}, &out); err == nil || !strings.Contains(err.Error(), "as it was told") {
		t.Errorf("%v", err)
	}
}

func TestANodeThatIsTooOldIsNamedWithItsRemedy(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "node"), []byte("#!/bin/sh\necho v12.22.9\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	if _, err := InstallBrowser(t.Context(), t.Logf); !errors.Is(err, ErrNoBrowser) || !strings.Contains(err.Error(), "put node 20 or newer on PATH") {
		t.Errorf("%v", err)
	}
}

func TestATarballWritesNothingOutsideItsFolder(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"../outside", "/outside", "package/../../outside"} {
		dir := t.TempDir()
		tarball, folder := filepath.Join(dir, "t.tgz"), filepath.Join(dir, "in")
		file, err := os.Create(tarball)
		if err != nil {
			t.Fatal(err)
		}
		zip := gzip.NewWriter(file)
		archive := tar.NewWriter(zip)
		err = errors.Join(archive.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: 1, Typeflag: tar.TypeReg}))
		if _, failure := archive.Write([]byte("x")); failure != nil || err != nil {
			t.Fatal(err, failure)
		}
		if err := errors.Join(archive.Close(), zip.Close(), file.Close(), os.Mkdir(folder, 0o700)); err != nil {
			t.Fatal(err)
		}
		if err := extractAll(tarball, folder); err == nil {
			t.Errorf("%s is unpacked", name)
		}
		if exists(filepath.Join(dir, "outside")) || exists("/outside") {
			t.Errorf("%s was written", name)
		}
	}
}
