package identity

// owned are the headers by which an application could take a client's word for
// a user. The table answers for nearly all foreign names by one look.
type owned struct {
	names []string
	rows  [lengthsMax + 1]row // by the name's length
}

// row has the first and the last letters of the owned names of one length: bit
// b&31, by which letters of either case agree.
type row struct{ first, last uint32 }

// lengthsMax is the length from which on all lengths share a row.
const lengthsMax = 63

func (o *owned) add(name string) {
	o.names = append(o.names, name)
	r := &o.rows[min(len(name), lengthsMax)]
	r.first |= letter(name[0])
	r.last |= letter(name[len(name)-1])
}

// letter returns the bits of the bytes that pass for b.
func letter(b byte) uint32 {
	if alphanumeric(b) {
		return 1 << (b & 31)
	}
	return ^uint32(0)
}

// Owns says whether a header could pass for an identity header, in any
// spelling that some application server takes for one, and whether it is one
// exactly but for the case. Servers that make variables of headers (CGI and
// what came after it) fold case and turn _ and - into one another, some every
// byte that is no letter and no digit: so does Owns.
//
// A header that holds a token is not owned: it proves itself, whoever sent it.
func (f *Finder) Owns(name []byte) (owns, exact bool) {
	n := len(name)
	if n == 0 {
		return false, false
	}
	if r := &f.owned.rows[min(n, lengthsMax)]; r.first>>(name[0]&31)&(r.last>>(name[n-1]&31))&1 == 0 {
		return false, false
	}
	return f.owned.compare(name)
}

func (o *owned) compare(name []byte) (owns, exact bool) {
	for _, own := range o.names {
		switch {
		case EqualFold(name, own):
			return true, true
		case equalLoose(name, own):
			owns = true
		}
	}
	return owns, false
}

// EqualFold compares header names: ASCII, without case.
func EqualFold(name []byte, want string) bool {
	if len(name) != len(want) {
		return false
	}
	for i := range name {
		if a, b := name[i], want[i]; a != b && lower(a) != lower(b) {
			return false
		}
	}
	return true
}

func equalLoose(name []byte, want string) bool {
	if len(name) != len(want) {
		return false
	}
	for i := range name {
		if loose(name[i]) != loose(want[i]) {
			return false
		}
	}
	return true
}

func lower(b byte) byte {
	if 'A' <= b && b <= 'Z' {
		return b | 0x20
	}
	return b
}

func loose(b byte) byte {
	if alphanumeric(b) {
		return lower(b)
	}
	return '-'
}

func alphanumeric(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9'
}
