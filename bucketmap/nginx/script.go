package nginx

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"drover/bucketmap"
	"drover/bucketmap/internal/export"
)

const (
	// alphabet are the digits of the numbers in the script's strings: in the
	// order of their bytes but for two gaps, and none has a meaning in a string.
	alphabet    = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"
	offsetWidth = 5 // digits of an offset into a list: 64^5 is 1 GiB
)

// scriptText is the script. Its strings have no characters but ASCII ones,
// because only in such strings does njs find the n-th character at once.
const scriptText = `// decide says where a request goes: route, datacenter, backend, whether its
// bucket is held, and the bucket.
const BUCKETS = {{.Buckets}}, USER_MAX = {{.UserIDMax}}, HEADER = '{{.Lower}}', DEFAULT = '{{.Default}}';

// buckets → codes, WIDTH characters each; codes → what they mean
const WIDTH = {{.Width}}, TABLE = '{{.Table}}';
const CODES = '{{.Codes.Text}}', CODE_ENDS = '{{.Codes.Ends}}';

// whitelisted users, sorted, in hexadecimal; each one's datacenter, 3 characters
const LISTED = {{.Listed}}, USERS = '{{.Users.Text}}', USER_ENDS = '{{.Users.Ends}}', USER_DATACENTERS = '{{.UserDatacenters}}';
const DATACENTERS = '{{.Datacenters.Text}}', DATACENTER_ENDS = '{{.Datacenters.Ends}}';

// CRC-32 (IEEE), four bits at a time
const CRC = [0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
    0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c];

function crc32(bytes) {
    let c = -1;
    for (let i = 0; i < bytes.length; i++) {
        c ^= bytes[i];
        c = (c >>> 4) ^ CRC[c & 15];
        c = (c >>> 4) ^ CRC[c & 15];
    }
    return (c ^ -1) >>> 0;
}

function digit(c) {
    return c < 58 ? (c === 45 ? 62 : c - 48) : c < 91 ? c - 55 : c === 95 ? 63 : c - 61;
}

function number(text, index, width) {
    let n = 0;
    for (let i = index * width; i < index * width + width; i++) {
        n = n * 64 + digit(text.charCodeAt(i));
    }
    return n;
}

function item(text, ends, index) {
    return text.slice(index === 0 ? 0 : number(ends, index - 1, {{.OffsetWidth}}), number(ends, index, {{.OffsetWidth}}));
}

function listed(user) {
    let low = 0, high = LISTED;
    while (low < high) {
        const middle = (low + high) >>> 1;
        const found = item(USERS, USER_ENDS, middle);
        if (found === user) {
            return item(DATACENTERS, DATACENTER_ENDS, number(USER_DATACENTERS, middle, 3));
        }
        if (found < user) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return '';
}

function decide(r) {
{{- if .Trusted}}
    if (r.variables.{{.P}}trusted !== '1') {
        return 'no_user ' + DEFAULT + ' -';
    }
{{- end}}
    let lines = 0;
    for (let i = 0; i < r.rawHeadersIn.length; i++) {
        if (r.rawHeadersIn[i][0].toLowerCase().replace(/[^a-z0-9]/g, '-') === HEADER) {
            lines++;
        }
    }
    const user = r.rawVariables.http_{{.Variable}};
    if (lines > 1 || (user && user.length > USER_MAX)) {
        return 'bad_user ' + DEFAULT + ' -';
    }
    if (!user || user.length === 0) {
        return 'no_user ' + DEFAULT + ' -';
    }
    const bucket = crc32(user) % BUCKETS;
    // place: "<route> <datacenter> <backend>", a blank, and when the hold ends
    const place = item(CODES, CODE_ENDS, number(TABLE, bucket, WIDTH)).split(' ');
    const held = Number(place[3]) > Date.now() ? '+' : '-';
    const to = LISTED === 0 ? '' : listed(user.toString('hex'));
    return (to === '' ? place[0] + ' ' + place[1] + ' ' + place[2] : 'whitelist ' + to) + ' ' + held + ' ' + bucket;
}

export default {decide};
`

// list is a list of texts in one, with the offset of each one's end.
type list struct{ text, ends []byte }

func (l *list) add(item string) {
	l.text = append(l.text, item...)
	l.ends = appendNumber(l.ends, uint64(len(l.text)), offsetWidth)
}

func (l list) Text() string { return string(l.text) }
func (l list) Ends() string { return string(l.ends) }

func appendNumber(dst []byte, n uint64, width int) []byte {
	for i := width - 1; i >= 0; i-- {
		dst = append(dst, alphabet[n>>(6*i)&63])
	}
	return dst
}

// script is drover.js.
func (o Options) script(s *bucketmap.Snapshot, t *export.Table, backends map[bucketmap.Datacenter]string) []byte {
	names := s.Datacenters()
	place := func(dc bucketmap.Datacenter) string { return string(dc) + " " + backends[dc] }
	var codes, datacenters, users list
	for _, code := range t.Codes {
		route, dc := bucketmap.ReasonBucket, code.Datacenter
		if dc == "" {
			route, dc = bucketmap.ReasonUnmapped, s.Default().Datacenter
		}
		codes.add(route.String() + " " + place(dc) + " " + strconv.FormatInt(code.UntilMs, 10))
	}
	for _, dc := range names {
		datacenters.add(place(dc))
	}
	var userDatacenters []byte
	for id, dc := range s.Whitelist() {
		users.add(fmt.Sprintf("%x", id))
		i, _ := slices.BinarySearch(names, dc)
		userDatacenters = appendNumber(userDatacenters, uint64(i), 3)
	}
	width := 1
	for len(t.Codes) > 1<<(6*width) {
		width++
	}
	var table []byte
	for _, code := range t.Of {
		table = appendNumber(table, uint64(code), width)
	}
	var b bytes.Buffer
	err := template.Must(template.New(scriptName).Parse(scriptText)).Execute(&b, map[string]any{
		"Buckets": s.Buckets(), "UserIDMax": bucketmap.UserIDMax, "Default": place(s.Default().Datacenter),
		"Lower": strings.ReplaceAll(strings.ToLower(o.Header), "_", "-"), "Variable": variable(o.Header), "P": o.Prefix,
		"Width": width, "Table": string(table), "Codes": codes,
		"Listed": s.WhitelistLen(), "Users": users, "UserDatacenters": string(userDatacenters), "Datacenters": datacenters,
		"OffsetWidth": offsetWidth, "Trusted": len(o.Trusted) != 0,
	})
	if err != nil {
		panic(fmt.Sprintf("nginx: the script's text does not fit: %v", err)) // a bug, and every test meets it
	}
	return b.Bytes()
}

// variable is how nginx names the variable of a header, after $http_.
func variable(header string) string {
	return strings.ReplaceAll(strings.ToLower(header), "-", "_")
}

// checkDashes refuses headers that nginx drops unless told not to.
func checkDashes(header string) error {
	if strings.Contains(header, "_") {
		return fmt.Errorf("identity header %q: nginx drops headers with '_' in their names; use '-'", header)
	}
	return nil
}
