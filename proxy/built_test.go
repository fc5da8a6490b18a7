package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// built is the proxy that all tests run which need a process of it: to link it
// takes longer than most of them.
var built builtOnce

type builtOnce struct {
	once sync.Once
	dir  string
	err  error
}

func (b *builtOnce) path(t *testing.T) string {
	t.Helper()
	b.once.Do(func() {
		if b.dir, b.err = os.MkdirTemp("", "drover-proxy-test-"); b.err != nil {
			return
		}
		// What a debugger needs is not linked in.
		said, err := exec.Command("go", "build", "-ldflags=-s -w", "-o", filepath.Join(b.dir, "proxy"), ".").CombinedOutput()
		if err != nil {
			b.err = fmt.Errorf("%w\n%s", err, said)
		}
	})
	if b.err != nil {
		t.Fatal(b.err)
	}
	return filepath.Join(b.dir, "proxy")
}

func (b *builtOnce) remove() error {
	if b.dir == "" {
		return nil
	}
	return os.RemoveAll(b.dir)
}
