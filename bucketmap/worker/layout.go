package worker

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"strings"
	"time"

	"drover/bucketmap"
)

// map.bin is read in place: a Worker starts in milliseconds, whatever the map's
// size. So it has no shards, only each bucket's datacenter, and holds of shards
// are those of their buckets. All numbers are little-endian. A header:
//
//	 0  8 bytes   "DROVERW1"
//	 8  16 bytes  the tag: the first of the SHA-256 of all that follows it
//	24  uint64    version
//	32  uint32    buckets
//	36  uint32    datacenters
//	40  uint32    the default's index
//	44  uint32    how many different ends of holds there are
//	48  uint32    users on the whitelist
//	52  uint32    bytes of their ids
//	56  uint32    bytes of the datacenters' names
//	60  uint32    0
//
// and sections, each of which begins at a multiple of 8 bytes:
//
//	names   the datacenters', sorted, a line feed between two
//	others  place for each datacenter: the other end of the migration
//	homes   place for each bucket
//	ends    float64 for each end: milliseconds since 1970
//	holds   for each bucket, the index in ends plus one, 0 for not held, in as
//	        few of 1, 2 and 4 bytes as do; nothing when there are no ends
//	blocks  uint32 for each 16 users: where in ids the first begins
//	places  place for each user
//	ids     of the users, sorted, each behind a byte: its length less one
//
// A place is the index of a datacenter plus one, 0 for none, in one byte, or
// two when there are more than 255 datacenters.
const (
	layoutMagic = "DROVERW1"
	headerBytes = 64
	tagAt       = 8
	tagBytes    = 16
	blockUsers  = 16
	narrowMax   = math.MaxUint8 // datacenters or holds that a byte can tell apart, and none
	middleMax   = math.MaxUint16
)

// layout is a map on its way to map.bin.
type layout struct {
	s           *bucketmap.Snapshot
	datacenters []bucketmap.Datacenter
	index       map[bucketmap.Datacenter]uint32
	leftOut     int // whitelisted users that no Worker can know
}

// encodeMap returns map.bin and its tag. Holds that are over at now are left out,
// and none lasts longer than holdMax.
func encodeMap(s *bucketmap.Snapshot, now time.Time, holdMax time.Duration) (data []byte, tag string, leftOut int) {
	l := &layout{s: s, datacenters: s.Datacenters(), index: map[bucketmap.Datacenter]uint32{}}
	names := make([]string, len(l.datacenters))
	for i, d := range l.datacenters {
		l.index[d], names[i] = uint32(i), string(d)
	}
	wide := width(len(l.datacenters))
	ends, holds := l.holds(now, holdMax)
	blocks, places, ids := l.users()
	text := strings.Join(names, "\n")

	data = make([]byte, tagAt+tagBytes, headerBytes+len(holds)+int(s.Buckets())*(wide+1)+len(ids)+len(places)*(wide+1))
	copy(data, layoutMagic)
	data = binary.LittleEndian.AppendUint64(data, uint64(s.Version()))
	for _, field := range []int{
		int(s.Buckets()), len(l.datacenters), int(l.index[s.Default().Datacenter]), len(ends), len(places), len(ids), len(text), 0,
	} {
		data = binary.LittleEndian.AppendUint32(data, uint32(field))
	}
	data = pad(append(data, text...))
	data = appendNumbers(data, l.others(), wide)
	data = appendNumbers(data, l.homes(), wide)
	for _, end := range ends {
		data = binary.LittleEndian.AppendUint64(data, math.Float64bits(float64(end)))
	}
	data = appendNumbers(data, holds, width(len(ends)))
	data = appendNumbers(data, blocks, 4)
	data = appendNumbers(data, places, wide)
	data = pad(append(data, ids...))
	sum := sha256.Sum256(data[tagAt+tagBytes:])
	copy(data[tagAt:], sum[:tagBytes])
	return data, hex.EncodeToString(sum[:tagBytes]), l.leftOut
}

// others returns the other end of the migration for each datacenter: of source
// and target each other; of two datacenters too; of any other the default.
func (l *layout) others() []uint32 {
	d := l.s.Default()
	others := make([]uint32, len(l.datacenters))
	for i, datacenter := range l.datacenters {
		switch {
		case d.Auto && datacenter == d.Source:
			others[i] = l.index[d.Target] + 1
		case d.Auto && datacenter == d.Target:
			others[i] = l.index[d.Source] + 1
		case datacenter != d.Datacenter:
			others[i] = l.index[d.Datacenter] + 1
		case len(l.datacenters) == 2:
			others[i] = uint32(1-i) + 1
		}
	}
	return others
}

// homes returns the datacenter of each bucket.
func (l *layout) homes() []uint32 {
	of := map[bucketmap.ShardName]uint32{}
	for _, shard := range l.s.Shards() {
		of[shard.Name] = l.index[shard.Datacenter] + 1
	}
	homes := make([]uint32, l.s.Buckets())
	for run := range l.s.Runs() {
		home := of[run.Shard] // 0 for none
		for b := run.First; b <= run.Last; b++ {
			homes[b] = home
		}
	}
	return homes
}

// holds returns the different ends of holds, and which of them each bucket has.
func (l *layout) holds(now time.Time, holdMax time.Duration) (ends []int64, holds []uint32) {
	alive := false
	for _, hold := range l.s.Holds() {
		alive = alive || hold.Until.After(now)
	}
	if !alive {
		return nil, nil
	}
	first, last := now.UnixMilli(), now.Add(holdMax).UnixMilli()
	known := map[int64]uint32{}
	holds = make([]uint32, l.s.Buckets())
	for b := range holds {
		hold, ok := l.s.HoldOf(bucketmap.BucketID(b))
		end := min(hold.Until.UnixMilli(), last)
		if !ok || end <= first {
			continue
		}
		if known[end] == 0 {
			ends = append(ends, end)
			known[end] = uint32(len(ends))
		}
		holds[b] = known[end]
	}
	if len(ends) == 0 { // they are of shards that are nobody's home
		return nil, nil
	}
	return ends, holds
}

// users returns the whitelist.
func (l *layout) users() (blocks, places []uint32, ids []byte) {
	for id, datacenter := range l.s.Whitelist() {
		if !usable(id) {
			l.leftOut++
			continue
		}
		if len(places)%blockUsers == 0 {
			blocks = append(blocks, uint32(len(ids)))
		}
		places = append(places, l.index[datacenter]+1)
		ids = append(append(ids, byte(len(id)-1)), id...)
	}
	return blocks, places, ids
}

// width returns in how many bytes a number from 0 to n fits.
func width(n int) int {
	switch {
	case n <= narrowMax:
		return 1
	case n <= middleMax:
		return 2
	default:
		return 4
	}
}

// appendNumbers appends numbers of that many bytes each, as a section.
func appendNumbers(data []byte, numbers []uint32, width int) []byte {
	for _, n := range numbers {
		switch width {
		case 1:
			data = append(data, byte(n))
		case 2:
			data = binary.LittleEndian.AppendUint16(data, uint16(n))
		default:
			data = binary.LittleEndian.AppendUint32(data, n)
		}
	}
	return pad(data)
}

// pad ends a section.
func pad(data []byte) []byte {
	const align = 8
	for len(data)%align != 0 {
		data = append(data, 0)
	}
	return data
}
