package listen

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"net"
	"strings"
	"testing"

	"github.com/pires/go-proxyproto"
)

// wire is a header as another implementation writes it.
func wire(t testing.TB, version byte, client, local string, tlvs ...proxyproto.TLV) []byte {
	t.Helper()
	c, err1 := net.ResolveTCPAddr("tcp", client)
	l, err2 := net.ResolveTCPAddr("tcp", local)
	h := proxyproto.HeaderProxyFromAddrs(version, c, l)
	b, err3 := h.Format()
	if version == 2 && len(tlvs) > 0 {
		err3 = h.SetTLVs(tlvs)
		b, _ = h.Format()
	}
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	return b
}

// sealed adds the checksum extension.
func sealed(b []byte) []byte {
	b = append(bytes.Clone(b), typeCRC32C, 0, 4, 0, 0, 0, 0)
	binary.BigEndian.PutUint16(b[14:], uint16(len(b)-v2Fixed))
	binary.BigEndian.PutUint32(b[len(b)-4:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return b
}

func v2(command, family byte, body string) []byte {
	b := append(bytes.Clone(v2Signature), command, family, byte(len(body)>>8), byte(len(body)))
	return append(b, body...)
}

func TestAHeaderIsReadAsItsSenderMeantIt(t *testing.T) {
	four, six := "192.0.2.7:5000", "[2001:db8::7]:5000"
	for name, c := range map[string]struct {
		b             []byte
		client, local string
		balancer      bool
	}{
		"v1 over IPv4":      {wire(t, 1, four, "10.0.0.1:443"), four, "10.0.0.1:443", false},
		"v1 over IPv6":      {wire(t, 1, six, "[2001:db8::1]:443"), six, "[2001:db8::1]:443", false},
		"v1 unknown":        {[]byte("PROXY UNKNOWN\r\n"), "", "", false},
		"v1 unknown + more": {[]byte("PROXY UNKNOWN ffff:: ffff:: 1 2 three\r\n"), "", "", false},
		"v1 mapped":         {[]byte("PROXY TCP6 ::ffff:192.0.2.7 ::1 5000 1\r\n"), four, "[::1]:1", false},
		"v2 over IPv4":      {wire(t, 2, four, "10.0.0.1:443"), four, "10.0.0.1:443", false},
		"v2 over IPv6":      {wire(t, 2, six, "[2001:db8::1]:443"), six, "[2001:db8::1]:443", false},
		"v2 extended":       {wire(t, 2, four, "10.0.0.1:443", proxyproto.TLV{Type: 0xea, Value: []byte("vpce")}), four, "10.0.0.1:443", false},
		"v2 with checksum":  {sealed(wire(t, 2, four, "10.0.0.1:443")), four, "10.0.0.1:443", false},
		"v2 local":          {v2(0x20, 0, ""), "", "", true},
		"v2 local + more":   {v2(0x20, 0x11, "to be skipped"), "", "", true},
		"v2 no family":      {v2(0x21, 0, ""), "", "", false},
		"v2 unix":           {v2(0x21, 0x31, strings.Repeat("\x00", 216)), "", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			more := append(bytes.Clone(c.b), "GET / HTTP/1.1"...)
			h, n, err := parseHeader(more, ProxyAny)
			if err != nil || n != len(c.b) {
				t.Fatalf("%d of %d bytes: %v", n, len(c.b), err)
			}
			if h.balancer != c.balancer || h.known != (c.client != "") {
				t.Fatalf("%+v", h)
			}
			if h.known && (h.client.String() != c.client || h.local.String() != c.local) {
				t.Fatalf("%+v", h)
			}
			for i := range c.b { // each beginning wants more, and is refused by nobody
				if _, _, err := parseHeader(c.b[:i], ProxyAny); !errors.Is(err, errMore) {
					t.Fatalf("the first %d bytes: %v", i, err)
				}
			}
		})
	}
}

func TestWhatIsNoHeaderIsRefused(t *testing.T) {
	spoilt := sealed(wire(t, 2, "192.0.2.7:5000", "10.0.0.1:443"))
	spoilt[18] ^= 1
	for name, b := range map[string][]byte{
		"a request":         []byte("GET / HTTP/1.1\r\n\r\n"),
		"HTTP/2":            []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
		"TLS":               {0x16, 3, 1},
		"no space":          []byte("PROXY\r\n"),
		"no family":         []byte("PROXY \r\n"),
		"UDP":               []byte("PROXY UDP4 192.0.2.7 10.0.0.1 1 2\r\n"),
		"five fields":       []byte("PROXY TCP4 192.0.2.7 10.0.0.1 1\r\n"),
		"seven fields":      []byte("PROXY TCP4 192.0.2.7 10.0.0.1 1 2 3\r\n"),
		"two spaces":        []byte("PROXY TCP4  192.0.2.7 10.0.0.1 1 2\r\n"),
		"port too high":     []byte("PROXY TCP4 192.0.2.7 10.0.0.1 65536 2\r\n"),
		"port with a zero":  []byte("PROXY TCP4 192.0.2.7 10.0.0.1 01 2\r\n"),
		"port with a sign":  []byte("PROXY TCP4 192.0.2.7 10.0.0.1 +1 2\r\n"),
		"other family":      []byte("PROXY TCP4 ::1 10.0.0.1 1 2\r\n"),
		"a zone":            []byte("PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n"),
		"lone line feed":    []byte("PROXY TCP4 192.0.2.7 10.0.0.1 1 2\n" + strings.Repeat("x", 107)),
		"too long":          []byte("PROXY UNKNOWN " + strings.Repeat("x", 107) + "\r\n"),
		"v2 version 3":      v2(0x31, 0x11, "123456789012"),
		"v2 command 2":      v2(0x22, 0x11, "123456789012"),
		"v2 cut short":      v2(0x21, 0x11, "12345678901"),
		"v2 cut short IPv6": v2(0x21, 0x21, "123456789012"),
		"v2 cut short unix": v2(0x21, 0x31, "123456789012"),
		"v2 datagram":       v2(0x21, 0x12, "123456789012"),
		"v2 extension":      v2(0x21, 0x11, "123456789012\x04\x00"),
		"v2 extension long": v2(0x21, 0x11, "123456789012\x04\x00\x02x"),
		"v2 too long":       v2(0x21, 0x11, strings.Repeat("x", v2BodyMax+1)),
		"v2 checksum":       spoilt,
	} {
		if _, _, err := parseHeader(b, ProxyAny); !errors.Is(err, ErrHeader) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := parseHeader([]byte("PROXY UNKNOWN\r\n"), ProxyV2); !errors.Is(err, ErrHeader) {
		t.Errorf("v1 where v2 is wanted: %v", err)
	}
	if _, _, err := parseHeader(v2(0x20, 0, ""), ProxyV1); !errors.Is(err, ErrHeader) {
		t.Errorf("v2 where v1 is wanted: %v", err)
	}
}

// What is accepted with addresses encodes back to itself, by another
// implementation, but for v2's extensions and v1's spellings of an address.
func FuzzHeader(f *testing.F) {
	f.Add(wire(f, 1, "192.0.2.7:5000", "10.0.0.1:443"))
	f.Add(wire(f, 2, "[2001:db8::7]:5000", "[::1]:443"))
	f.Add(v2(0x20, 0, ""))
	f.Add([]byte("PROXY UNKNOWN x\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, err := parseHeader(b, ProxyAny)
		if err != nil {
			return
		}
		if n < 15 || n > len(b) || n > headerLen {
			t.Fatalf("%d bytes of %d", n, len(b))
		}
		if !h.known || b[0] == 'P' || h.client.Addr().Is4() != (b[13] == 0x11) || h.local.Addr().Is4() != (b[13] == 0x11) {
			return
		}
		again := wire(t, 2, h.client.String(), h.local.String())
		if !bytes.Equal(again[v2Fixed:], b[v2Fixed:len(again)]) {
			t.Fatalf("%x became %x", b, again)
		}
	})
}
