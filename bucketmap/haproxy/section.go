package haproxy

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"text/template"

	"drover/bucketmap"
	"drover/bucketmap/internal/export"
)

// The rules rely on this: a set-var whose expression has no result, because a
// variable is not set or a key is not in a map, leaves its variable alone.
const sectionText = `#
# A frontend takes these rules up, before its own, with
#     frontend <name> from {{.Section}}
#         use_backend %[var(txn.{{.P}}backend)]
# Variables for its own rules and logs: txn.{{.P}}user, bucket, datacenter,
# route and backend.
{{- if not .Trusted}}
#
# EVERY PEER IS BELIEVED when it sends {{.Header}}: remove or set that header
# before requests come here.
{{- end}}
defaults {{.Section}}{{with .From}} from {{.}}{{end}}
    mode http

    # what only an edge may say
    http-request del-header ^drover[-_] -m reg
{{- if .Trusted}}
{{- range .Trusted}}
    http-request set-var(txn.{{$.P}}trusted) int(1) if { src{{range .}} {{.}}{{end}} }
{{- end}}
    http-request del-header {{.Loose}} -m reg unless { var(txn.{{.P}}trusted) -m found }
{{- end}}
    http-request del-header {{.Variants}} -m reg

    # the user
    http-request set-var(txn.{{.P}}user) req.fhdr({{.Header}})
    http-request set-var(txn.{{.P}}route) str(no_user)
    http-request set-var(txn.{{.P}}route) str(unmapped) if { var(txn.{{.P}}user),length gt 0 }
    http-request set-var(txn.{{.P}}route) str(bad_user) if { var(txn.{{.P}}user),length gt {{.UserIDMax}} }
    http-request set-var(txn.{{.P}}route) str(bad_user) if { req.fhdr_cnt({{.Header}}) gt 1 }

    # the bucket, and the code of what the map says of it
    http-request set-var(txn.{{.P}}bucket) var(txn.{{.P}}user),crc32,mod({{.Buckets}}) if { var(txn.{{.P}}route) -m str unmapped }
    http-request set-var(txn.{{.P}}place) var(txn.{{.P}}bucket),mod({{.Block}})
    http-request set-var(txn.{{.P}}power) var(txn.{{.P}}place),map_str_int({{.Folder}}/` + powersName + `)
    http-request set-var(txn.{{.P}}code) var(txn.{{.P}}bucket),div({{.Block}}),map_str_int({{.Folder}}/` + bucketsName + `),div(txn.{{.P}}power),mod({{.Base}})
{{- if .Holds}}

    # the bucket changes its home this moment
    http-request set-var(txn.{{.P}}until) var(txn.{{.P}}code),map_str_int({{.Folder}}/` + holdsName + `)
    http-request set-var(txn.{{.P}}left) date(0,ms),neg,add(txn.{{.P}}until) if { var(txn.{{.P}}until) -m found }
    http-request return status 503 content-type text/plain string "one moment\n" hdr Retry-After 1 hdr Cache-Control no-store if { var(txn.{{.P}}left) -m int gt 0 }
{{- end}}

    # the decision
    http-request set-var(txn.{{.P}}datacenter) str({{.Default}})
{{- if .Mapped}}
    http-request set-var(txn.{{.P}}home) var(txn.{{.P}}code),map_str({{.Folder}}/` + datacentersName + `)
    http-request set-var(txn.{{.P}}datacenter) var(txn.{{.P}}home)
    http-request set-var(txn.{{.P}}route) str(bucket) if { var(txn.{{.P}}home) -m found }
{{- end}}
{{- if .Whitelist}}
    http-request set-var(txn.{{.P}}listed) var(txn.{{.P}}user),hex,map_str({{.Folder}}/` + whitelistName + `) if { var(txn.{{.P}}bucket) -m found }
    http-request set-var(txn.{{.P}}datacenter) var(txn.{{.P}}listed)
    http-request set-var(txn.{{.P}}route) str(whitelist) if { var(txn.{{.P}}listed) -m found }
{{- end}}
    http-request set-var(txn.{{.P}}backend) var(txn.{{.P}}datacenter),map_str({{.Folder}}/` + backendsName + `)

    # for the application; HAProxy would write a control byte as % and two digits
    http-request set-var(txn.{{.P}}raw) int(1) if { var(txn.{{.P}}user),hex -m reg ^([0-9A-F][0-9A-F])*(0[0-8A-F]|1[0-9A-F]|7F) }
    http-request set-header Drover-User %[var(txn.{{.P}}user)] if { var(txn.{{.P}}bucket) -m found } ! { var(txn.{{.P}}raw) -m found }
    http-request set-header Drover-Bucket %[var(txn.{{.P}}bucket)] if { var(txn.{{.P}}bucket) -m found }
    http-request set-header Drover-Datacenter %[var(txn.{{.P}}datacenter)]
    http-request set-header Drover-Route %[var(txn.{{.P}}route)]
    http-request set-header Drover-Map-Version {{.Version}}
`

// fields are what the text has holes for.
type fields struct {
	Section, From, Header, P, Folder string
	Trusted                          [][]string // a line each
	Loose, Variants                  string     // regular expressions
	Buckets, UserIDMax, Block        int
	Base                             uint64
	Holds, Mapped, Whitelist         bool
	Default                          bucketmap.Datacenter
	Version                          bucketmap.Version
}

// section is drover.cfg but for its first line.
func (o Options) section(s *bucketmap.Snapshot, t *export.Table, p packed, folder string) []byte {
	f := fields{
		Section: o.Section, From: o.From, Header: o.Header, P: o.Prefix, Folder: folder,
		Loose: loose(o.Header), Variants: variants(o.Header),
		Buckets: int(s.Buckets()), UserIDMax: bucketmap.UserIDMax, Block: len(p.powers), Base: p.base,
		Holds:     t.Held != 0,
		Mapped:    slices.ContainsFunc(t.Codes, func(c export.Code) bool { return c.Datacenter != "" }),
		Whitelist: s.WhitelistLen() != 0,
		Default:   s.Default().Datacenter, Version: s.Version(),
	}
	for line := range slices.Chunk(o.Trusted, prefixesALine) {
		var words []string
		for _, prefix := range line {
			words = append(words, prefix.Masked().String())
		}
		f.Trusted = append(f.Trusted, words)
	}
	var b bytes.Buffer
	if err := template.Must(template.New(mainName).Parse(sectionText)).Execute(&b, f); err != nil {
		panic(fmt.Sprintf("haproxy: the section's text does not fit its fields: %v", err)) // a bug, and every test meets it
	}
	return b.Bytes()
}

// loose matches every header name that some application server takes for the
// identity header: they fold case, and make one of all that is no letter and
// no digit. HAProxy keeps names in lower case.
func loose(header string) string { return "^" + looseBody(header, -1) + "$" }

// variants matches those of loose that are not the identity header itself:
// at one place at least there is another byte.
func variants(header string) string {
	var all []string
	for i := range header {
		if !alphanumeric(header[i]) {
			all = append(all, looseBody(header, i))
		}
	}
	if all == nil {
		return "^drover[-_]" // no other spelling: what is removed anyway
	}
	return "^(" + strings.Join(all, "|") + ")$"
}

// looseBody is the expression with another byte at one place; -1 for none.
func looseBody(header string, other int) string {
	var b strings.Builder
	for i := range header {
		switch c := header[i]; {
		case alphanumeric(c):
			b.WriteString(strings.ToLower(string(rune(c))))
		case i == other:
			fmt.Fprintf(&b, "[^%ca-z0-9]", c)
		default:
			b.WriteString("[^a-z0-9]")
		}
	}
	return b.String()
}

func alphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
