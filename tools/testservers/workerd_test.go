package testservers

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// workerFolder has a Worker that says hello.
func workerFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"hello.mjs": `export default { fetch() { return new Response("hello") } }`,
		"workerd.capnp": `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = (
    modules = [(name = "hello.mjs", esModule = embed "hello.mjs")], compatibilityDate = "2026-01-01"))],
  sockets = [(name = "http", address = "127.0.0.1:1", http = (), service = "main")],
);
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestWorkerdServesAndComesBackOnItsPort(t *testing.T) {
	t.Parallel()
	server := StartWorkerd(t, workerFolder(t))
	hello := func() string {
		t.Helper()
		answer, err := http.Get("http://" + server.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if got := hello(); got != "hello" {
		t.Fatal(got)
	}
	addr, pid := server.Addr(), server.PID()
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := hello(); got != "hello" || server.Addr() != addr || server.PID() == pid {
		t.Fatalf("%s of %d at %s, was %d at %s", got, server.PID(), server.Addr(), pid, addr)
	}
}

func TestWorkerThatDoesNotStartIsAnErrorWithItsLog(t *testing.T) {
	t.Parallel()
	dir := workerFolder(t)
	if err := os.WriteFile(filepath.Join(dir, "hello.mjs"), []byte(`throw new Error("not today")`), 0o600); err != nil {
		t.Fatal(err)
	}
	err := WorkerdRefuses(t, dir)
	if !errors.Is(err, errExited) || !strings.Contains(err.Error(), "not today") {
		t.Fatalf("%v", err)
	}
}

// registry serves a package with a program in it.
func registry(t *testing.T, member, text string) (tarball []byte, hash string) {
	t.Helper()
	var packed strings.Builder
	zip := gzip.NewWriter(&packed)
	archive := tar.NewWriter(zip)
	header := &tar.Header{Name: member, Mode: 0o755, Size: int64(len(text))}
	_, err := archive.Write(nil)
	if err := errors.Join(err, archive.WriteHeader(header)); err != nil {
		t.Fatal(err)
	}
	if _, err := archive.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(archive.Close(), zip.Close()); err != nil {
		t.Fatal(err)
	}
	sum := sha512.Sum512([]byte(packed.String()))
	return []byte(packed.String()), base64.StdEncoding.EncodeToString(sum[:])
}

func TestWorkerdIsInstalledFromTheConfiguredRegistryAfterAFailureThatPasses(t *testing.T) {
	tarball, hash := registry(t, workerdMember, "#!/bin/sh\n")
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if want := "/npm/@cloudflare/some-package/-/some-package-" + workerdVersion + ".tgz"; r.URL.Path != want {
			t.Errorf("asked for %s, want %s", r.URL.Path, want)
		}
		if asked.Add(1) == 1 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_, _ = w.Write(tarball)
	}))
	defer server.Close()
	t.Setenv("npm_config_registry", server.URL+"/npm/")
	cache := t.TempDir()
	program := filepath.Join(cache, "program")
	if err := makeWorkerd(t.Context(), program, "some-package", hash, t.Logf); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(program)
	if err != nil || string(text) != "#!/bin/sh\n" || asked.Load() != 2 {
		t.Errorf("%q, %v, asked %d times", text, err, asked.Load())
	}
	left, err := os.ReadDir(cache)
	if err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestTarballThatIsNotThePublishedOneIsNotInstalled(t *testing.T) {
	tarball, hash := registry(t, workerdMember, "good")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(tarball[:len(tarball)-1])
	}))
	defer server.Close()
	path := filepath.Join(t.TempDir(), "tarball")
	if err := download(t.Context(), server.URL, path, hash); err == nil || !strings.Contains(err.Error(), "sha512-"+hash) {
		t.Errorf("%v", err)
	}
}

func TestTarballWithoutTheProgramIsAnError(t *testing.T) {
	tarball, _ := registry(t, "package/README.md", "read me")
	path := filepath.Join(t.TempDir(), "tarball")
	if err := os.WriteFile(path, tarball, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := extractMember(path, workerdMember, path+".out"); err == nil || !strings.Contains(err.Error(), workerdMember) {
		t.Errorf("%v", err)
	}
}

func TestWhatAnotherRunSaidIsNotBelieved(t *testing.T) {
	control := filepath.Join(t.TempDir(), "control")
	for text, want := range map[string]bool{
		"": false, "listen": false,
		`{"event":"listen","socket":"http","port":8080}` + "\n":                                             true,
		`{"event":"listen","socket":"http","port":8081}` + "\n":                                             false,
		`{"event":"listen","socket":"admin","port":8080}` + "\n":                                            false,
		`{"event":"other"}` + "\n" + `{"event":"listen","socket":"http","port":8080}` + "\n" + `{"event":"`: true,
	} {
		if err := os.WriteFile(control, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := listens(control, 8080); (err == nil) != want {
			t.Errorf("%q: %v", text, err)
		}
	}
}
