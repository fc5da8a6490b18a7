package config

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"drover/bucketmap"
	"drover/internal/config"
	"drover/migrator/internal/tracer"
)

const (
	// tracerProxiesMax bounds the proxies that tracers go through.
	tracerProxiesMax = 1000
	// tracerPerShardMax bounds the tracers of a shard: 64 × 156 shards is the most
	// tracers that there are.
	tracerPerShardMax = 64
	// tracerPrefixMax leaves room for a number and a datacenter's name.
	tracerPrefixMax = 100
)

// Tracers are the synthetic users of migrator trace; see docs/tracers.md.
type Tracers struct {
	// Proxies are the front doors, such as {name: edge-1, url: "http://10.0.0.1:8080",
	// admin: "http://10.0.0.1:9901"}: name is the proxy's id, and admin may be left
	// out where the proxy has expose_headers. Their admin servers are talked to
	// as map.canary says, or with the store push as map.push does. Empty: there are
	// no tracers.
	Proxies []TracerProxy `yaml:"proxies"`
	// Host is the Host of every request; empty: the proxy's address.
	Host string `yaml:"host"`
	// TLS is for proxies with https.
	TLS TLS `yaml:"tls"`
	// Prefix begins every tracer's user id: a tracer is PREFIX-NUMBER.
	Prefix string `yaml:"prefix"`
	// PerShard is how many tracers each shard has, at least.
	PerShard int `yaml:"per_shard"`
	// Rate is how many requests a second all tracers send together, through all
	// proxies.
	Rate float64 `yaml:"rate"`
	// Timeout bounds a request: it is longer than a hold may be.
	Timeout time.Duration `yaml:"timeout"`
	// Late is from when on an answer is late.
	Late time.Duration `yaml:"late"`
	// Grace is how long a map may take to reach every proxy.
	Grace time.Duration `yaml:"grace"`
	// Headers are of every request, such as {X-User-Id: "{user}"}.
	Headers map[string]string `yaml:"headers"`
	// Write is what changes a tracer's data.
	Write TracerRequest `yaml:"write"`
	// Read is what reads it.
	Read TracerRequest `yaml:"read"`
}

// TracerProxy is tracer.Proxy by its keys.
type TracerProxy struct {
	Name  string `yaml:"name"`
	URL   string `yaml:"url"`
	Admin string `yaml:"admin"`
}

// TracerRequest is tracer.Request by its keys.
type TracerRequest struct {
	// Method is the request's; empty: it is not sent.
	Method string `yaml:"method"`
	// Path is its path and query. {user} stands for the tracer, {id} for an id of
	// the request's own, {date} for a date of the run's own.
	Path string `yaml:"path"`
	// Body is its body, with the same.
	Body string `yaml:"body"`
	// Status is that of a good answer.
	Status int `yaml:"status"`
	// Datacenter is where the answer says which datacenter served it: header:NAME or
	// json:KEY.KEY.
	Datacenter string `yaml:"datacenter"`
	// Shard is where it says which shard was used.
	Shard string `yaml:"shard"`
	// Instance is where it says which instance of the application served it.
	Instance string `yaml:"instance"`
	// Count is where it says how many writes the tracer has on the date.
	Count string `yaml:"count"`
	// Duplicate is where it is true for a write whose id was there before.
	Duplicate string `yaml:"duplicate"`
}

// defaultTracers sends nothing: what applications take differs.
func defaultTracers() Tracers {
	return Tracers{Prefix: "tracer", PerShard: 1, Rate: 20, Timeout: 10 * time.Second, Late: time.Second, Grace: 3 * time.Second,
		Write: TracerRequest{Status: http.StatusOK}, Read: TracerRequest{Status: http.StatusOK}}
}

// paths are the fields that name files.
func (t *Tracers) paths() []*string { return []*string{&t.TLS.CA, &t.TLS.Cert, &t.TLS.Key} }

func (t *Tracers) validate(p *config.Problems, hold time.Duration) {
	p.Want(len(t.Proxies) <= tracerProxiesMax, "tracers.proxies", len(t.Proxies), fmt.Sprintf("at most %d", tracerProxiesMax))
	seen := map[string]bool{}
	for i, proxy := range t.Proxies {
		key := fmt.Sprintf("tracers.proxies[%d]", i)
		p.Want(bucketmap.ValidName(proxy.Name) && !seen[proxy.Name], key+".name", proxy.Name, "the proxy's id, each once")
		p.Want(validBase(proxy.URL), key+".url", proxy.URL, "http or https, a host and a port, such as http://10.0.0.1:8080")
		p.Want(proxy.Admin == "" || validBase(proxy.Admin), key+".admin", proxy.Admin, "nothing, or the URL of its admin server, such as http://10.0.0.1:9901")
		seen[proxy.Name] = true
	}
	p.Want((t.TLS.Cert == "") == (t.TLS.Key == ""), "tracers.tls", t.TLS.Cert+", "+t.TLS.Key, "both cert and key, or neither")
	p.Want(t.Prefix != "" && len(t.Prefix) <= tracerPrefixMax && bucketmap.ValidName(t.Prefix), "tracers.prefix", t.Prefix, fmt.Sprintf("a name of 1 to %d bytes", tracerPrefixMax))
	p.Between("tracers.per_shard", int64(t.PerShard), 1, tracerPerShardMax)
	p.Want(t.Rate >= 0.1 && t.Rate <= 1000, "tracers.rate", t.Rate, "0.1 to 1000 requests a second")
	p.Lasting("tracers.late", t.Late, time.Millisecond, time.Minute)
	p.Lasting("tracers.timeout", t.Timeout, max(t.Late, 10*time.Millisecond), 10*time.Minute)
	p.Lasting("tracers.grace", t.Grace, 100*time.Millisecond, time.Minute)
	for name, value := range t.Headers {
		p.Want(name != "" && !strings.ContainsAny(name+value, "\r\n") && !strings.HasPrefix(strings.ToLower(name), "drover-"),
			"tracers.headers", name, "names of headers that are not the proxy's, and values of one line")
	}
	t.Write.validate(p, "tracers.write")
	t.Read.validate(p, "tracers.read")
	if len(t.Proxies) == 0 {
		return
	}
	p.Want(t.Timeout > hold, "tracers.timeout", t.Timeout, fmt.Sprintf("longer than move.hold_max, %s: a held request is no error", hold))
	p.Want(t.Write.Method != "" || t.Read.Method != "", "tracers.write", "", "a method and a path there, or in tracers.read")
	p.Want(t.Write.Datacenter != "" || t.Read.Datacenter != "", "tracers.write.datacenter", "", "where the answer says which datacenter served it, there or in tracers.read")
}

// validBase says whether text is a URL of nothing but a scheme, a host and a port.
func validBase(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.User == nil &&
		strings.Trim(u.Path, "/") == "" && u.RawQuery == "" && u.Fragment == ""
}

func (r *TracerRequest) validate(p *config.Problems, key string) {
	p.Between(key+".status", int64(r.Status), 200, 599)
	named := false
	for _, f := range []struct{ key, value string }{{"datacenter", r.Datacenter}, {"shard", r.Shard}, {"instance", r.Instance}, {"count", r.Count}, {"duplicate", r.Duplicate}} {
		_, err := tracer.ParseField(f.value)
		p.Want(err == nil, key+"."+f.key, f.value, "nothing, header:NAME or json:KEY, such as json:served.datacenter")
		named = named || f.value != ""
	}
	if r.Method == "" {
		p.Want(r.Path == "" && r.Body == "" && !named, key+".method", r.Method, "a method, as there is a path, a body or a field")
		return
	}
	p.Want(strings.Trim(r.Method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == "", key+".method", r.Method, "a method in capitals")
	_, err := url.ParseRequestURI(strings.NewReplacer("{user}", "u", "{id}", "i", "{date}", "d").Replace(r.Path))
	p.Want(err == nil && strings.HasPrefix(r.Path, "/"), key+".path", r.Path, "a path that begins with /")
}

// On says whether there are tracers.
func (t *Tracers) On() bool { return len(t.Proxies) != 0 }

// Options gives what the file says as the tracer package takes it. The caller adds
// the map, and how the admin servers are talked to.
func (t *Tracers) Options() (tracer.Options, error) {
	var secure *tls.Config
	secure, err := t.TLS.Config()
	if err != nil {
		return tracer.Options{}, fmt.Errorf("tracers.%w", err)
	}
	o := tracer.Options{TLS: secure, Host: t.Host, Prefix: t.Prefix, PerShard: t.PerShard, Rate: t.Rate,
		Timeout: t.Timeout, Late: t.Late, Grace: t.Grace, Write: t.Write.request(t.Headers), Read: t.Read.request(t.Headers)}
	for _, p := range t.Proxies {
		o.Proxies = append(o.Proxies, tracer.Proxy{Name: p.Name, URL: strings.TrimRight(p.URL, "/"), Admin: strings.TrimRight(p.Admin, "/")})
	}
	return o, nil
}

func (r *TracerRequest) request(headers map[string]string) tracer.Request {
	field := func(text string) tracer.Field {
		f, _ := tracer.ParseField(text) // it was validated
		return f
	}
	return tracer.Request{Method: r.Method, Path: r.Path, Body: r.Body, Headers: headers, Status: r.Status,
		Datacenter: field(r.Datacenter), Shard: field(r.Shard), Instance: field(r.Instance), Count: field(r.Count), Duplicate: field(r.Duplicate)}
}
