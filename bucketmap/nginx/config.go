package nginx

import (
	"bytes"
	"fmt"
	"text/template"

	"drover/bucketmap"
)

// variablesText is drover.conf but for its first line. Should the script fail,
// $drover_decision is empty, and the defaults send the request on.
const variablesText = `# For http {}. Variables: {{.P}}user, bucket, datacenter, route, backend, held.
{{- if not .Trusted}}
#
# EVERY PEER IS BELIEVED when it sends {{.Header}}: remove or set that header
# before requests come here.
{{- end}}
{{- if .Trusted}}
geo ${{.P}}trusted {
    default 0;
{{- range .Trusted}}
    {{.}} 1;
{{- end}}
}
map ${{.P}}trusted ${{.P}}identity {
    default "";
    1 $http_{{.Variable}};
}
{{- else}}
map "" ${{.P}}identity {
    default $http_{{.Variable}};
}
{{- end}}

js_import {{.P}}script from {{.Folder}}/` + scriptName + `;
js_set ${{.P}}decision {{.P}}script.decide;

# route, datacenter, backend, held, bucket
map ${{.P}}decision ${{.P}}route {
    default no_user;
    "~^([^ ]+) " $1;
}
map ${{.P}}decision ${{.P}}datacenter {
    default {{.Default}};
    "~^[^ ]+ ([^ ]+) " $1;
}
map ${{.P}}decision ${{.P}}backend {
    default {{.Backend}};
    "~^[^ ]+ [^ ]+ ([^ ]+) " $1;
}
map ${{.P}}decision ${{.P}}held {
    default "";
    "~ \+ [0-9]+$" 1;
}
map ${{.P}}decision ${{.P}}bucket {
    default "";
    "~ ([0-9]+)$" $1;
}
map ${{.P}}bucket ${{.P}}user {
    default $http_{{.Variable}};
    "" "";
}
map "" ${{.P}}map_version {
    default {{.Version}};
}
`

// headersText is drover-headers.conf. A header that is set to nothing is not
// sent, nor is a client's of that name.
const headersText = `# For a location. One with a proxy_set_header of its own takes over none from
# outside of it, so include this where proxy_pass is.
if (${{.P}}held) {
    add_header Retry-After 1 always;
    add_header Cache-Control no-store always;
    return 503;
}
proxy_set_header {{.Header}} ${{.P}}identity;
proxy_set_header Drover-User ${{.P}}user;
proxy_set_header Drover-Bucket ${{.P}}bucket;
proxy_set_header Drover-Datacenter ${{.P}}datacenter;
proxy_set_header Drover-Route ${{.P}}route;
proxy_set_header Drover-Map-Version ${{.P}}map_version;
`

// variables is drover.conf but for its first line.
func (o Options) variables(s *bucketmap.Snapshot, backends map[bucketmap.Datacenter]string, folder string) []byte {
	var trusted []string
	for _, prefix := range o.Trusted {
		trusted = append(trusted, prefix.Masked().String())
	}
	dc := s.Default().Datacenter
	return fill(variablesText, map[string]any{
		"P": o.Prefix, "Header": o.Header, "Variable": variable(o.Header), "Trusted": trusted, "Folder": folder,
		"Default": dc, "Backend": backends[dc], "Version": s.Version(),
	})
}

func (o Options) headers() []byte {
	return fill(headersText, map[string]any{"P": o.Prefix, "Header": o.Header})
}

func fill(text string, values map[string]any) []byte {
	var b bytes.Buffer
	if err := template.Must(template.New("").Parse(text)).Execute(&b, values); err != nil {
		panic(fmt.Sprintf("nginx: the configuration's text does not fit: %v", err)) // a bug, and every test meets it
	}
	return b.Bytes()
}
