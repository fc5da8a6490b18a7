package bucketmap

import "hash/crc32"

// checksumShort is the length from which on the standard library's CRC-32 is
// the faster one: it uses instructions for many bytes at once.
const checksumShort = 64

// crcTables are for eight bytes at a time: table n is that of a byte with n
// bytes after it. They never change.
var crcTables = newCRCTables()

func newCRCTables() *[8][256]uint32 {
	var t [8][256]uint32
	t[0] = *crc32.IEEETable
	for i := range t[0] {
		for n := 1; n < len(t); n++ {
			before := t[n-1][i]
			t[n][i] = t[0][byte(before)] ^ before>>8
		}
	}
	return &t
}

// checksum is crc32.ChecksumIEEE. That goes byte by byte through short inputs,
// which user ids are: 19 ns for 13 bytes, three quarters of a decision. This
// one takes 5.
func checksum(p []byte) uint32 {
	if len(p) >= checksumShort {
		return crc32.ChecksumIEEE(p)
	}
	t := crcTables
	crc := ^uint32(0)
	for len(p) >= 8 {
		crc ^= uint32(p[0]) | uint32(p[1])<<8 | uint32(p[2])<<16 | uint32(p[3])<<24
		crc = t[0][p[7]] ^ t[1][p[6]] ^ t[2][p[5]] ^ t[3][p[4]] ^
			t[4][crc>>24] ^ t[5][crc>>16&0xff] ^ t[6][crc>>8&0xff] ^ t[7][crc&0xff]
		p = p[8:]
	}
	if len(p) >= 4 {
		crc ^= uint32(p[0]) | uint32(p[1])<<8 | uint32(p[2])<<16 | uint32(p[3])<<24
		crc = t[0][crc>>24] ^ t[1][crc>>16&0xff] ^ t[2][crc>>8&0xff] ^ t[3][crc&0xff]
		p = p[4:]
	}
	for _, c := range p {
		crc = t[0][byte(crc)^c] ^ crc>>8
	}
	return ^crc
}
