package file

import (
	"testing"

	"go.uber.org/goleak"

	"drover/bucketmap"
	"drover/bucketmap/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, dir string, options Options) *Store {
	t.Helper()
	s, err := Open(dir, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func newStore(t *testing.T) bucketmap.Store { return open(t, t.TempDir(), Options{}) }

func TestStore(t *testing.T) { storetest.Run(t, newStore) }

func TestTwoStoresOnOneFolder(t *testing.T) {
	storetest.RunShared(t, newStore, func(t *testing.T, first bucketmap.Store) bucketmap.Store {
		return open(t, first.(*Store).dir, Options{})
	})
}
