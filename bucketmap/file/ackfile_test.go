package file

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"drover/bucketmap"
)

func ackOf(version bucketmap.Version, reason string) bucketmap.Ack {
	return bucketmap.Ack{Proxy: "p1", Version: version, Since: time.Unix(int64(version), 0).UTC(), Reason: reason}
}

func wantAck(t *testing.T, s *Store, want bucketmap.Ack) {
	t.Helper()
	acks, err := s.Acks(t.Context())
	if err != nil || !slices.Equal(acks, []bucketmap.Ack{want}) {
		t.Fatalf("got %+v, %v, want %+v", acks, err, want)
	}
}

func TestAcknowledgementsOfAnyLengthFollowEachOther(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	for i, length := range []int{0, 10, 1000, 5, 3000, 0} {
		a := ackOf(bucketmap.Version(i+1), strings.Repeat("r", length))
		must(t, s.Ack(t.Context(), a))
		wantAck(t, s, a)
	}
}

func TestAnAcknowledgementMakesNoNewFile(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	must(t, s.Ack(t.Context(), ackOf(1, "")))
	first, err := os.Stat(s.ackPath("p1"))
	must(t, err)
	must(t, s.Ack(t.Context(), ackOf(2, "a reason")))
	second, err := os.Stat(s.ackPath("p1"))
	must(t, err)
	if !os.SameFile(first, second) {
		t.Error("another file")
	}
	wantAck(t, s, ackOf(2, "a reason"))
}

func TestAnAcknowledgementTakesThePlaceOfWhateverSomebodyPutThere(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"removed":  os.Remove,
		"replaced": func(path string) error { return errors.Join(os.Remove(path), os.WriteFile(path, []byte("x"), 0o600)) },
		"linked": func(path string) error {
			return errors.Join(os.Rename(path, path+".old"), os.Symlink(path+".old", path))
		},
		"cut": func(path string) error { return os.Truncate(path, 3) },
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir(), Options{})
			must(t, s.Ack(t.Context(), ackOf(1, "")))
			must(t, spoil(s.ackPath("p1")))
			must(t, s.Ack(t.Context(), ackOf(2, "")))
			wantAck(t, s, ackOf(2, ""))
		})
	}
}

// Writer and reader are at it together: what is read is always one that was
// written.
func TestAnAcknowledgementIsNeverReadHalf(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	reason := func(v bucketmap.Version) string { return strings.Repeat(fmt.Sprint(v%10), int(v%7)*40) }
	must(t, s.Ack(t.Context(), ackOf(1, reason(1))))
	var writing sync.WaitGroup
	const rounds = 1000
	writing.Go(func() {
		for v := bucketmap.Version(2); v <= rounds; v++ {
			if err := s.Ack(t.Context(), ackOf(v, reason(v))); err != nil {
				t.Error(err)
			}
		}
	})
	reader := open(t, s.dir, Options{})
	for last := bucketmap.Version(0); last != rounds; {
		acks, err := reader.Acks(t.Context())
		if err != nil || len(acks) != 1 || acks[0] != ackOf(acks[0].Version, reason(acks[0].Version)) || acks[0].Version < last {
			t.Errorf("got %+v, %v", acks, err)
			break
		}
		last = acks[0].Version
	}
	writing.Wait()
}

func TestAnAcknowledgementThatIsNoneIsAnError(t *testing.T) {
	whole, err := ack{Proxy: "p1", Version: 1234}.appendTo(nil)
	must(t, err)
	torn := strings.Replace(string(whole), "1234", "1235", 1)
	for _, text := range []string{torn, string(whole[:40]), ""} {
		s := open(t, t.TempDir(), Options{})
		must(t, s.Ack(t.Context(), ackOf(1, "")))
		must(t, os.WriteFile(s.ackPath("p1"), []byte(text), 0o600))
		if _, err := s.Acks(t.Context()); err == nil || !strings.Contains(err.Error(), "remove the file") {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func TestAnAcknowledgementThatCannotBeWrittenOverIsWrittenAnew(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	must(t, s.Ack(t.Context(), ackOf(1, "")))
	s.sys = &once{system: disk{}}
	must(t, s.Ack(t.Context(), ackOf(2, "")))
	wantAck(t, s, ackOf(2, ""))
}

// once fails one rewrite, half done.
type once struct {
	system
	failed bool
}

func (o *once) rewrite(name string, f *os.File, data []byte) error {
	if o.failed {
		return o.system.rewrite(name, f, data)
	}
	o.failed = true
	return errors.Join(errors.New("full"), o.system.rewrite(name, f, data[:len(data)/4]))
}
