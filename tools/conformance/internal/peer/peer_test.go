package peer

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"drover/bucketmap/file"
)

func TestAnUnknownPeerIsToldWithItsRemedy(t *testing.T) {
	if _, err := Prepare(t.Context(), "apache", t.TempDir()); err == nil || !strings.Contains(err.Error(), "use drover, nginx or haproxy") {
		t.Errorf("got %v", err)
	}
}

func TestAMapIsPublishedOnce(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "map")
	for range 2 {
		if err := publish(t.Context(), folder); err != nil {
			t.Fatal(err)
		}
	}
	store, err := file.Open(folder, file.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close() //nolint:errcheck // a test's
	snapshot, err := store.Load(t.Context())
	if err != nil || snapshot.Version() != 1 {
		t.Errorf("got %v, %v; want version 1", snapshot, err)
	}
}

// script starts a shell script as if it were a peer.
func script(t *testing.T, text string, ready func(context.Context) error) (*Process, error) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "peer.sh")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return launch(t.Context(), Nginx, program{args: []string{"/bin/sh", path}, ready: ready}, dir)
}

func TestAPeerThatEndsIsNotWaitedFor(t *testing.T) {
	never := func(context.Context) error { return errors.New("not yet") }
	_, err := script(t, "echo the reason; exit 1", never)
	if !errors.Is(err, errEnded) || !strings.Contains(err.Error(), "the reason") {
		t.Errorf("got %v, want that it ended, and its log", err)
	}
}

func TestAPeerThatHearsNoSignalIsEnded(t *testing.T) {
	listening := make(chan struct{}, 1)
	p, err := script(t, "trap '' TERM; echo ready; while :; do sleep 0.05; done", func(context.Context) error {
		listening <- struct{}{}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	<-listening
	if p.Ended() {
		t.Error("it ended by itself")
	}
	p.End()
	if !p.Ended() {
		t.Error("it still runs")
	}
}

func TestATakenAddressIsNotGivenAgain(t *testing.T) {
	var taken []string
	for range slotPorts / 2 {
		address, err := freeAddress(t.Context(), SlotsMax-1, taken...)
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range taken {
			if address == other {
				t.Fatalf("%s was given twice", address)
			}
		}
		taken = append(taken, address)
	}
}
