package consul

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"drover/bucketmap"
)

const (
	documentFormat = 1

	// deltaMax bounds the delta within the pointer. Pointer and history record go
	// in one transaction, in base64 twice: (96 KiB × 4/3 + 44 KiB) × 4/3 × 2 =
	// 458 KiB, and Consul takes 512.
	deltaMax = 96 << 10
	// deltasMax is how many deltas a reader without the version before applies to
	// a base, and how many versions apart two bases are at most.
	deltasMax = 64
	// chunkSize is half of what Consul takes as a value.
	chunkSize = 256 << 10
	// chunksMax bounds a full encoding to 64 MiB, and what names its chunks in
	// the pointer to 17 KiB.
	chunksMax = 256
	// whoMax and whyMax bound a record, whose every byte JSON may make six: 26 KiB.
	whoMax, whyMax = 256, 4 << 10
)

// document is the pointer, and a record of the history.
type document struct {
	Format  int               `json:"format"`
	Version bucketmap.Version `json:"version"`
	Digest  bucketmap.Digest  `json:"digest"`
	// ID is of this publication alone: two publishers may have the same map.
	ID   string `json:"id"`
	Base base   `json:"base"`
	// Deltas is how many lead from the base to this version.
	Deltas int       `json:"deltas"`
	Delta  []byte    `json:"delta,omitempty"` // from the version before; empty when it is large
	Who    string    `json:"who"`
	Why    string    `json:"why"`
	When   time.Time `json:"when"`
}

// base is a full encoding of a version.
type base struct {
	Version bucketmap.Version `json:"version"`
	Size    int               `json:"size"` // bytes
	Chunks  []string          `json:"chunks"`
	Signer  string            `json:"signer,omitempty"` // the public key; for publishers, not for trust
}

func (d *document) encode() ([]byte, error) { return json.Marshal(d) }

// parseDocument accepts what encode writes, and refuses the rest by saying
// where it is, and of which version where that can be read.
func parseDocument(key string, data []byte) (*document, error) {
	var d document
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&d)
	if err == nil && len(bytes.Trim(data[decoder.InputOffset():], " \t\r\n")) != 0 {
		err = errors.New("more than one value")
	}
	if err == nil {
		err = d.check()
	}
	if err != nil {
		return nil, refuseDocument(key, data, err)
	}
	return &d, nil
}

// refuseDocument says what is wrong with one that is not as it should be.
func refuseDocument(key string, data []byte, cause error) error {
	var head struct {
		Format  int               `json:"format"`
		Version bucketmap.Version `json:"version"`
	}
	remedy := "put the newest record of the history in its place, or restore it from a snapshot of Consul"
	if err := json.Unmarshal(data, &head); err != nil {
		return refuse("unreadable", 0, fmt.Errorf("%s is no JSON that Drover wrote: %w", key, err), remedy)
	}
	if head.Format > documentFormat {
		return refuse("unreadable", head.Version, fmt.Errorf("%s has format %d, and this program knows %d", key, head.Format, documentFormat),
			"upgrade this program: a newer one published the map")
	}
	return refuse("unreadable", head.Version, fmt.Errorf("%s: %w", key, cause), remedy)
}

func (d *document) check() error {
	b := d.Base
	switch {
	case d.Format != documentFormat:
		return fmt.Errorf("format %d: want %d", d.Format, documentFormat)
	case d.Version < 1 || d.Version > bucketmap.VersionMax:
		return fmt.Errorf("version %d: want 1 to %d", d.Version, bucketmap.VersionMax)
	case d.ID == "":
		return errors.New("no id of the publication")
	case b.Version < 1 || b.Version > d.Version || d.Version-b.Version >= deltasMax || d.Deltas != int(d.Version-b.Version):
		return fmt.Errorf("base %d and %d deltas for version %d: want fewer than %d", b.Version, d.Deltas, d.Version, deltasMax)
	case len(b.Chunks) < 1 || len(b.Chunks) > chunksMax:
		return fmt.Errorf("%d chunks: want 1 to %d", len(b.Chunks), chunksMax)
	case b.Size <= (len(b.Chunks)-1)*chunkSize || b.Size > len(b.Chunks)*chunkSize:
		return fmt.Errorf("%d bytes in %d chunks: want %d a chunk", b.Size, len(b.Chunks), chunkSize)
	case len(d.Delta) > deltaMax:
		return fmt.Errorf("a delta of %d bytes: want %d at most", len(d.Delta), deltaMax)
	case d.Deltas > 0 && len(d.Delta) == 0:
		return fmt.Errorf("neither a base nor a delta of version %d", d.Version)
	}
	for _, chunk := range b.Chunks {
		if !isChunkName(chunk) {
			return fmt.Errorf("chunk %.80q: want a SHA-256 in lower-case hexadecimal digits", chunk)
		}
	}
	return nil
}

func (d *document) record() bucketmap.Record {
	return bucketmap.Record{Version: d.Version, Digest: d.Digest, Change: bucketmap.Change{Who: d.Who, Why: d.Why}, When: d.When.UTC()}
}

// deltaName is what errors call the delta.
func (d *document) deltaName() string { return fmt.Sprintf("the delta of version %d", d.Version) }

func isChunkName(name string) bool {
	return len(name) == hex.EncodedLen(sha256.Size) && strings.Trim(name, "0123456789abcdef") == ""
}

func chunkName(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// shorten cuts text to at most limit bytes, at the begin of a character.
func shorten(text string, limit int) string {
	const mark = "…"
	if len(text) <= limit {
		return text
	}
	cut := limit - len(mark)
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + mark
}
