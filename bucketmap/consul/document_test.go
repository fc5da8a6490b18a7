package consul

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"drover/bucketmap"
)

// largest is a document with everything as long as it can be.
func largest() *document {
	d := &document{
		Format: documentFormat, Version: bucketmap.VersionMax, ID: rand.Text(), Deltas: deltasMax - 1, Delta: make([]byte, deltaMax),
		Base: base{Version: bucketmap.VersionMax - deltasMax + 1, Size: chunksMax * chunkSize, Signer: strings.Repeat("A", 44)},
		Who:  strings.Repeat("\x01", whoMax), Why: strings.Repeat("\x01", whyMax), When: time.Now().UTC(),
	}
	for range chunksMax {
		d.Base.Chunks = append(d.Base.Chunks, chunkName([]byte(rand.Text())))
	}
	return d
}

func TestLargestPointerAndRecordFitIntoOneTransaction(t *testing.T) {
	s := open(t, options())
	text, err := largest().encode()
	must(t, err)
	done, response, err := s.transact(context.Background(), api.TxnOps{
		{KV: &api.KVTxnOp{Verb: api.KVCAS, Key: s.pointerKey(), Value: text}},
		{KV: &api.KVTxnOp{Verb: api.KVCAS, Key: s.historyKey(bucketmap.VersionMax), Value: text}},
	})
	if err != nil || !done {
		t.Fatalf("%d bytes: %v, %v", len(text), response, err)
	}
	if got, err := pointerOf(t, s).encode(); err != nil || !bytes.Equal(got, text) {
		t.Error("another document")
	}
}

// FuzzDocument: what is accepted is what would be written.
func FuzzDocument(f *testing.F) {
	small := largest()
	small.Delta, small.Base.Chunks, small.Base.Size = []byte{1}, small.Base.Chunks[:1], 1
	text, err := small.encode()
	must(f, err)
	f.Add(text)
	f.Add([]byte(`{"format":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := parseDocument("key", data)
		if err != nil {
			if !errors.Is(err, bucketmap.ErrRefused) {
				t.Fatalf("%v is no refusal", err)
			}
			return
		}
		again, err := d.encode()
		if err != nil {
			return // a time that JSON reads and does not write
		}
		back, err := parseDocument("key", again)
		must(t, err)
		third, err := back.encode()
		must(t, err)
		if !bytes.Equal(again, third) {
			t.Fatalf("%s\n%s", again, third)
		}
	})
}
