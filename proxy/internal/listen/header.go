package listen

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"strconv"
	"strings"
)

// The PROXY protocol, versions 1 and 2, is read as
// https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt has it.

// ErrHeader is a PROXY header that is missing or is not one.
var ErrHeader = errors.New("no valid PROXY header")

// errMore wants more bytes.
var errMore = errors.New("the PROXY header is not complete")

const (
	v1Max     = 107 // a v1 line with its end, by the specification
	v2Fixed   = 16
	v2BodyMax = 4096 // the protocol allows 64 KiB; a client's certificate in it takes 1 to 2 KiB
	headerLen = v2Fixed + v2BodyMax
)

var (
	v1Signature = []byte("PROXY ")
	v2Signature = []byte("\r\n\r\n\x00\r\nQUIT\n")
)

// header is what a PROXY header says.
type header struct {
	client, local netip.AddrPort
	known         bool // client and local are told
	balancer      bool // LOCAL: the balancer's own connection
}

// parseHeader reads the header at the beginning of b and says how long it is.
// errMore: b is the beginning of one.
func parseHeader(b []byte, mode string) (header, int, error) {
	if mode != ProxyV2 && begins(b, v1Signature) {
		return parseV1(b)
	}
	if mode != ProxyV1 && begins(b, v2Signature) {
		return parseV2(b)
	}
	return header{}, 0, fmt.Errorf("%w: the connection begins otherwise (is the balancer set to send %s?)", ErrHeader, mode)
}

// begins says whether b begins as the signature does, as far as b goes.
func begins(b, signature []byte) bool {
	n := min(len(b), len(signature))
	return bytes.Equal(b[:n], signature[:n])
}

func parseV1(b []byte) (header, int, error) {
	line, _, ended := bytes.Cut(b[:min(len(b), v1Max)], []byte("\r\n"))
	if !ended {
		if len(b) >= v1Max {
			return header{}, 0, fmt.Errorf("%w: a v1 line longer than %d bytes", ErrHeader, v1Max)
		}
		return header{}, 0, errMore
	}
	n := len(line) + 2
	fields := strings.Split(string(line), " ")
	if fields[1] == "UNKNOWN" { // what follows it is to be ignored
		return header{}, n, nil
	}
	if len(fields) != 6 || fields[1] != "TCP4" && fields[1] != "TCP6" {
		return header{}, 0, fmt.Errorf("%w: v1 line %q", ErrHeader, line)
	}
	client, err1 := addrPort(fields[2], fields[4], fields[1] == "TCP6")
	local, err2 := addrPort(fields[3], fields[5], fields[1] == "TCP6")
	if err := errors.Join(err1, err2); err != nil {
		return header{}, 0, fmt.Errorf("%w: v1 line %q: %w", ErrHeader, line, err)
	}
	return header{client: client, local: local, known: true}, n, nil
}

func addrPort(address, port string, six bool) (netip.AddrPort, error) {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if a.Is6() != six || a.Zone() != "" {
		return netip.AddrPort{}, fmt.Errorf("address %s is of another family", address)
	}
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil || len(port) > 1 && port[0] == '0' {
		return netip.AddrPort{}, fmt.Errorf("port %q: must be 0 to 65535", port)
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(p)), nil
}

func parseV2(b []byte) (header, int, error) {
	if len(b) < v2Fixed {
		return header{}, 0, errMore
	}
	command, family := b[12], b[13]
	size := int(binary.BigEndian.Uint16(b[14:]))
	if command != 0x20 && command != 0x21 {
		return header{}, 0, fmt.Errorf("%w: v2 version and command %#x", ErrHeader, command)
	}
	if size > v2BodyMax {
		return header{}, 0, fmt.Errorf("%w: %d bytes of v2 header, the most is %d", ErrHeader, size, v2BodyMax)
	}
	n := v2Fixed + size
	if len(b) < n {
		return header{}, 0, errMore
	}
	if command == 0x20 { // LOCAL: whatever follows is to be skipped
		return header{balancer: true}, n, nil
	}
	var h header
	body := b[v2Fixed:n]
	var addresses int
	switch family {
	case 0x11:
		addresses = 4
	case 0x21:
		addresses = 16
	case 0x31: // a Unix stream: no address of ours
		if size < 216 {
			return header{}, 0, fmt.Errorf("%w: v2 addresses cut short", ErrHeader)
		}
		return h, n, checksum(b[:n], 216)
	case 0x00:
		return h, n, nil
	default: // datagrams do not come over TCP
		return header{}, 0, fmt.Errorf("%w: v2 address family and transport %#x", ErrHeader, family)
	}
	length := 2*addresses + 4
	if size < length {
		return header{}, 0, fmt.Errorf("%w: v2 addresses cut short", ErrHeader)
	}
	client, _ := netip.AddrFromSlice(body[:addresses])
	local, _ := netip.AddrFromSlice(body[addresses : 2*addresses])
	h.client = netip.AddrPortFrom(client.Unmap(), binary.BigEndian.Uint16(body[2*addresses:]))
	h.local = netip.AddrPortFrom(local.Unmap(), binary.BigEndian.Uint16(body[2*addresses+2:]))
	h.known = true
	return h, n, checksum(b[:n], length)
}

// typeCRC32C is the type of the extension that holds the header's checksum.
const typeCRC32C = 0x03

// checksum walks through the extensions behind the addresses, and compares the
// checksum if there is one. It is of the header with zeros in its place.
func checksum(whole []byte, addresses int) error {
	for at := v2Fixed + addresses; at < len(whole); {
		if len(whole)-at < 3 {
			return fmt.Errorf("%w: a v2 extension is cut short", ErrHeader)
		}
		size := int(binary.BigEndian.Uint16(whole[at+1:]))
		if len(whole)-at-3 < size {
			return fmt.Errorf("%w: a v2 extension is cut short", ErrHeader)
		}
		if whole[at] == typeCRC32C {
			if size != 4 {
				return fmt.Errorf("%w: a v2 checksum of %d bytes", ErrHeader, size)
			}
			zeroed := bytes.Clone(whole)
			clear(zeroed[at+3 : at+7])
			if crc32.Checksum(zeroed, crc32.MakeTable(crc32.Castagnoli)) != binary.BigEndian.Uint32(whole[at+3:]) {
				return fmt.Errorf("%w: the v2 checksum is another one", ErrHeader)
			}
		}
		at += 3 + size
	}
	return nil
}
