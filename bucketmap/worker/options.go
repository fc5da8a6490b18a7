package worker

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"drover/bucketmap"
)

// Plan is what the platform's limits are taken from.
type Plan string

// Cloudflare's plans.
const (
	PlanFree Plan = "free"
	PlanPaid Plan = "paid"
)

// What Options leave out.
const (
	NameDefault         = "drover-edge"
	ListenDefault       = "127.0.0.1:8787"
	ReplayBufferDefault = 64 << 10
	HoldMaxDefault      = 5 * time.Minute
)

const (
	// replayBufferMax: an isolate has 128 MiB for all its requests.
	replayBufferMax = 1 << 20
	// holdMaxMax bounds HoldMax: a hold is for milliseconds, an export that takes
	// longer than this is not for holds.
	holdMaxMax = time.Hour
)

// Options are what an export needs beside the map.
type Options struct {
	// Name is the Worker's on Cloudflare. Empty: NameDefault.
	Name string
	// Upstreams has the base URL of each of the map's datacenters: http or https,
	// a host, perhaps a port, no path. Others are left out.
	Upstreams map[bucketmap.Datacenter]string
	// Failover has the datacenters that are tried, in order, when one cannot be
	// reached and the request is idempotent.
	Failover map[bucketmap.Datacenter][]bucketmap.Datacenter
	// Identity is where the user id is looked for, in order.
	Identity []Source
	// TrustClients believes identity and forwarding headers. It is for a Worker
	// that nobody reaches but a front which sets them.
	TrustClients bool
	// ExposeHeaders shows clients the Drover-* headers.
	ExposeHeaders bool
	// ReplayBuffer is up to how many bytes of a body, whose length is known, are
	// kept so that the request can be sent again, at most 1 MiB. 0:
	// ReplayBufferDefault; negative: none.
	ReplayBuffer int
	// HoldMax bounds holds, from Now on: a clock that is wrong cannot stretch
	// them. 0: HoldMaxDefault.
	HoldMax time.Duration
	// Listen is where workerd listens, host:port. Empty: ListenDefault.
	Listen string
	// Plan is by which limits the size is checked. Empty: PlanFree.
	Plan Plan
	// Now is the time of the export; holds that are over are left out. Zero: the
	// time of the call.
	Now time.Time
}

func (o Options) withDefaults() Options {
	if o.Name == "" {
		o.Name = NameDefault
	}
	if o.Listen == "" {
		o.Listen = ListenDefault
	}
	if o.ReplayBuffer == 0 {
		o.ReplayBuffer = ReplayBufferDefault
	}
	o.ReplayBuffer = max(o.ReplayBuffer, 0)
	if o.HoldMax == 0 {
		o.HoldMax = HoldMaxDefault
	}
	if o.Plan == "" {
		o.Plan = PlanFree
	}
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	return o
}

// workerName is what Cloudflare takes, as it is a label of a host name too.
var workerName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// configuration checks the options, and returns what config.json says. It reports
// every problem at once.
func (o *Options) configuration(datacenters []bucketmap.Datacenter) (*configuration, error) {
	var problems []error
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if !workerName.MatchString(o.Name) {
		problem("name: %q: want 1 to 63 lower-case letters, digits or dashes, no dash at an end", o.Name)
	}
	if err := checkListen(o.Listen); err != nil {
		problem("listen: %q: %w", o.Listen, err)
	}
	if o.ReplayBuffer > replayBufferMax {
		problem("replay_buffer: %d: want at most %d bytes", o.ReplayBuffer, replayBufferMax)
	}
	if o.HoldMax < 0 || o.HoldMax > holdMaxMax {
		problem("hold_max: %v: want 0s to %v", o.HoldMax, holdMaxMax)
	}
	if o.Plan != PlanFree && o.Plan != PlanPaid {
		problem("plan: %q: want %s or %s", o.Plan, PlanFree, PlanPaid)
	}
	c := &configuration{
		TrustClients: o.TrustClients, ExposeHeaders: o.ExposeHeaders, ReplayBuffer: o.ReplayBuffer,
		Upstreams: map[bucketmap.Datacenter]string{}, Failover: map[bucketmap.Datacenter][]bucketmap.Datacenter{},
	}
	for _, d := range datacenters {
		upstream, err := origin(o.Upstreams[d])
		if err != nil {
			problem("upstreams.%s: %q: %w", d, o.Upstreams[d], err)
		}
		c.Upstreams[d] = upstream
	}
	for from, list := range o.Failover {
		for i, to := range list {
			if !slices.Contains(datacenters, from) || !slices.Contains(datacenters, to) || from == to || slices.Contains(list[:i], to) {
				problem("failover.%s: %q: want other datacenters of the map, each once", from, to)
			}
		}
		c.Failover[from] = list
	}
	sources, err := compileSources(o.Identity)
	problems = append(problems, err)
	c.Identity = sources
	return c, errors.Join(problems...)
}

// configuration is config.json.
type configuration struct {
	Tag           string                                          `json:"tag"` // of map.bin
	Identity      []source                                        `json:"identity"`
	TrustClients  bool                                            `json:"trust_clients"`
	ExposeHeaders bool                                            `json:"expose_headers"`
	ReplayBuffer  int                                             `json:"replay_buffer"`
	Upstreams     map[bucketmap.Datacenter]string                 `json:"upstreams"`
	Failover      map[bucketmap.Datacenter][]bucketmap.Datacenter `json:"failover"`
}

var errUpstream = errors.New("want a base URL, such as https://api.example.com: http or https, a host, perhaps a port, and no path")

// origin returns the scheme and the authority of a base URL.
func origin(base string) (string, error) {
	u, err := url.Parse(base)
	if err != nil {
		return "", fmt.Errorf("%w (%w)", errUpstream, err)
	}
	bare := url.URL{Scheme: u.Scheme, Host: u.Host}
	if u.Scheme != "http" && u.Scheme != "https" || !upstreamHost.MatchString(u.Hostname()) ||
		base != bare.String() && base != bare.String()+"/" {
		return "", errUpstream
	}
	if port := u.Port(); port != "" || strings.HasSuffix(u.Host, ":") {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return "", errUpstream
		}
	}
	return bare.String(), nil
}

var upstreamHost = regexp.MustCompile(`^([A-Za-z0-9._-]+|[0-9A-Fa-f:.]+)$`)

// listenHost keeps what is written into workerd.capnp a plain text.
var listenHost = regexp.MustCompile(`^(\*|[A-Za-z0-9.-]*|[0-9A-Fa-f:.]+)$`)

func checkListen(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("want host:port: %w", err)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil || !listenHost.MatchString(host) {
		return errors.New("want host:port, such as 127.0.0.1:8787")
	}
	return nil
}
