package consul

import (
	"crypto/ed25519"
	"errors"
	"testing"

	"drover/bucketmap"
	"drover/bucketmap/binary"
)

func newKey(t testing.TB) (ed25519.PublicKey, ed25519.PrivateKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	must(t, err)
	return public, private
}

func TestUnsignedMapIsRefusedWhereKeysAre(t *testing.T) {
	public, _ := newKey(t)
	o := options()
	writer := open(t, o)
	publishTo(t, writer, 2)
	o.Keys = []ed25519.PublicKey{public}
	reader := open(t, o)
	_, err := reader.Load(within(t))
	wantRule(t, err, bucketmap.RuleSignature)
	if !errors.Is(err, binary.ErrUnsigned) {
		t.Errorf("%v", err)
	}
	c := next(t, watching(t, reader))
	wantRule(t, c.err, bucketmap.RuleSignature)
}

// Whoever may write to Consul, and has no key, changes nothing for readers.
func TestForgedDeltaIsRefusedAndTheMapInForceStays(t *testing.T) {
	public, private := newKey(t)
	_, foreign := newKey(t)
	o := options()
	o.Sign, o.Keys = private, []ed25519.PublicKey{public}
	writer, reader := open(t, o), open(t, o)
	now := publishTo(t, writer, 2)
	calls := watching(t, reader)
	awaitVersion(t, calls, 2)
	for _, key := range []ed25519.PrivateKey{nil, foreign} {
		evil := edit(t, now)
		d := pointerOf(t, writer)
		d.Version, d.Digest, d.Deltas = evil.Version(), evil.Digest(), d.Deltas+1
		d.Delta = binary.AppendDelta(nil, binary.MakeDelta(now, evil), key)
		text, err := d.encode()
		must(t, err)
		before := getRaw(t, writer, writer.pointerKey())
		putRaw(t, writer, writer.pointerKey(), text)
		c := next(t, calls)
		wantRule(t, c.err, bucketmap.RuleSignature)
		putRaw(t, writer, writer.pointerKey(), before)
		if got := awaitVersion(t, calls, 2); !got.Equal(now) {
			t.Error("another map than before")
		}
	}
}

func TestAnotherKeyBeginsANewBase(t *testing.T) {
	public1, private1 := newKey(t)
	public2, private2 := newKey(t)
	o := options()
	unsigned := open(t, o)
	now := publishTo(t, unsigned, 2)
	o.Sign = private1
	now = publish(t, open(t, o), edit(t, now)) // the first signed one: no keys yet
	o.Sign, o.Keys = private2, []ed25519.PublicKey{public1, public2}
	now = publish(t, open(t, o), edit(t, now))
	o.Keys = []ed25519.PublicKey{public2} // the old key is forgotten
	s := open(t, o)
	wantLoad(t, s, now)
	now = publish(t, s, edit(t, now))
	wantLoad(t, open(t, o), now)
	if d := pointerOf(t, s); d.Base.Version != 4 {
		t.Errorf("base %d, want 4", d.Base.Version)
	}
	_, err := s.At(within(t), 1)
	wantRule(t, err, bucketmap.RuleSignature)
	must(t, s.Close())
	if _, err := s.Load(within(t)); !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
}
