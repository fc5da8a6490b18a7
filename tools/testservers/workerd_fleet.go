package testservers

import (
	"context"
	"errors"
	"os"
	"testing"
)

// StartWorkerd starts a workerd server that ends with the test, in a fleet of its
// own: nothing but workerd is installed for it.
func StartWorkerd(t testing.TB, folder string) *Workerd {
	t.Helper()
	server, err := tryWorkerd(t, folder)
	if err != nil {
		t.Fatal(err)
	}
	return server
}

// WorkerdRefuses runs a folder that must not start, and returns the error, with
// what workerd says. It is nil if the folder starts all the same.
func WorkerdRefuses(t testing.TB, folder string) error {
	t.Helper()
	_, err := tryWorkerd(t, folder)
	return err
}

func tryWorkerd(t testing.TB, folder string) (*Workerd, error) {
	t.Helper()
	fleet, err := newBareFleet(t.Context(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := fleet.Close(); err != nil {
			t.Error(err)
		}
	})
	return fleet.Workerd(t.Context(), "workerd", folder)
}

// newBareFleet makes a fleet without MariaDB, memcached and a template.
func newBareFleet(ctx context.Context, log func(string, ...any)) (*Fleet, error) {
	cache, err := cacheFolder()
	if err != nil {
		return nil, err
	}
	base, err := baseFolder()
	if err != nil {
		return nil, err
	}
	if err := sweepBefore(ctx, base, log); err != nil {
		return nil, err
	}
	f := &Fleet{cache: cache, log: log}
	f.mu.servers = make(map[string]*process)
	if f.dir, f.owner, err = makeFleetFolder(ctx, base, false); err != nil {
		return nil, err
	}
	if f.watchdog, err = startWatchdog(f.dir); err != nil {
		err = errors.Join(err, os.RemoveAll(f.dir))
		f.owner.Close()
		return nil, err
	}
	return f, nil
}
