package haproxy

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"drover/bucketmap"
	"drover/bucketmap/internal/export"
)

// The names of the map files.
const (
	bucketsName     = "drover-buckets.map"
	powersName      = "drover-powers.map"
	datacentersName = "drover-datacenters.map"
	holdsName       = "drover-holds.map"
	whitelistName   = "drover-whitelist.map"
	backendsName    = "drover-backends.map"
)

// packed is a table with the codes of a block of buckets in one number, the
// first bucket's as its last digit.
type packed struct {
	base   uint64   // of the digits: how many codes there are, 2 at least
	powers []uint64 // of the base; as many as a block has buckets
	words  []uint64 // one a block
}

// pack makes blocks as large as a signed 64-bit number, which is what HAProxy
// calculates with, can hold.
func pack(t *export.Table) packed {
	p := packed{base: max(2, uint64(len(t.Codes)))}
	// A block of n buckets needs base^n - 1 to fit.
	for power := uint64(1); ; power *= p.base {
		p.powers = append(p.powers, power)
		if power > math.MaxInt64/p.base/p.base {
			break
		}
	}
	for block := range slices.Chunk(t.Of, len(p.powers)) {
		word := uint64(0)
		for i, code := range block {
			word += uint64(code) * p.powers[i]
		}
		p.words = append(p.words, word)
	}
	return p
}

// files are the map files: a key, a blank and a value a line.
func files(s *bucketmap.Snapshot, t *export.Table, p packed, backends map[bucketmap.Datacenter]string) map[string][]byte {
	return map[string][]byte{
		bucketsName:     numbers(p.words),
		powersName:      numbers(p.powers),
		datacentersName: datacenters(t),
		holdsName:       holds(t),
		whitelistName:   whitelist(s),
		backendsName:    backendLines(backends),
	}
}

func numbers(values []uint64) []byte {
	var b []byte
	for i, v := range values {
		b = strconv.AppendInt(b, int64(i), 10)
		b = append(b, ' ')
		b = strconv.AppendUint(b, v, 10)
		b = append(b, '\n')
	}
	return b
}

func datacenters(t *export.Table) []byte {
	var b bytes.Buffer
	for i, code := range t.Codes {
		if code.Datacenter != "" {
			fmt.Fprintf(&b, "%d %s\n", i, code.Datacenter)
		}
	}
	return b.Bytes()
}

func holds(t *export.Table) []byte {
	var b bytes.Buffer
	for i, code := range t.Codes {
		if code.UntilMs != 0 {
			fmt.Fprintf(&b, "%d %d\n", i, code.UntilMs)
		}
	}
	return b.Bytes()
}

func whitelist(s *bucketmap.Snapshot) []byte {
	var b bytes.Buffer
	for id, dc := range s.Whitelist() {
		fmt.Fprintf(&b, "%X %s\n", id, dc)
	}
	return b.Bytes()
}

func backendLines(backends map[bucketmap.Datacenter]string) []byte {
	var b bytes.Buffer
	for _, dc := range slices.Sorted(maps.Keys(backends)) {
		fmt.Fprintf(&b, "%s %s\n", dc, backends[dc])
	}
	return b.Bytes()
}
