package tracer

import (
	"context"
	"crypto/tls"
	"strings"
	"time"

	"drover/bucketmap"
)

// Map is where the published map is read.
type Map interface {
	Load(ctx context.Context) (*bucketmap.Snapshot, error)
	Watch(ctx context.Context, changed func(*bucketmap.Snapshot, error)) error
	History(ctx context.Context) ([]bucketmap.Record, error)
	At(ctx context.Context, version bucketmap.Version) (*bucketmap.Snapshot, error)
}

// Fleet tells which proxies are alive.
type Fleet interface {
	Acks(ctx context.Context) ([]bucketmap.Ack, error)
}

// Proxy is one front door.
type Proxy struct {
	// Name is the proxy's id, as its acknowledgements have it.
	Name string
	// URL is its base: http or https, host and port.
	URL string
	// Admin is the base URL of its admin server; empty: it is not asked, and the
	// proxy must show its headers (expose_headers).
	Admin string
}

// Request is a request's template. In Path, Body and the values of Headers
// {user} stands for the tracer, {id} for the request's own id of at most 64
// bytes, {date} for the run's date (YYYY-MM-DD).
type Request struct {
	Method, Path, Body string // no method: not sent
	Headers            map[string]string
	Status             int // of a good answer
	// Datacenter, Shard and Instance say who served it.
	Datacenter, Shard, Instance Field
	// Count is how many writes the tracer has on the run's date, this one
	// included.
	Count Field
	// Duplicate is true for a write whose id was there already.
	Duplicate Field
}

// dated says whether what it counts is of the run's date alone.
func (r *Request) dated() bool {
	return !r.Count.Named() || strings.Contains(r.Path+r.Body, "{date}")
}

// sent says whether there is such a request.
func (r *Request) sent() bool { return r.Method != "" }

// Options are what a Tracer works with. Map, Proxies, and Write or Read are
// wanted, and one of both must name Datacenter.
type Options struct {
	Map   Map
	Fleet Fleet // nil: nobody says which proxies no tracer goes through

	Proxies []Proxy
	TLS     *tls.Config // of proxies with https; nil: the system's authorities
	Host    string      // the Host of every request; empty: the proxy's address
	// AdminTLS and AdminToken are for the admin servers.
	AdminTLS   *tls.Config
	AdminToken string

	Prefix   string // of the tracers' user ids
	PerShard int    // tracers of each shard
	Write    Request
	Read     Request

	Rate    float64       // requests a second, over all proxies
	Timeout time.Duration // of one request: longer than a hold
	Late    time.Duration // from when on an answer is late
	Grace   time.Duration // for a map to reach everybody

	// Report is told of every result, one at a time. It must neither block nor
	// call the Tracer.
	Report func(Result)
}

// The limits of what is kept and sent.
const (
	// usersMax bounds the tracers: × 2 KiB each = 20 MiB.
	usersMax = 10_000
	// countsMax bounds the counts that are kept of ids that were tracers: × 200
	// bytes = 8 MiB.
	countsMax = 4 * usersMax
	// surplusMax is how many tracers a shard keeps beside its own when their
	// buckets have moved there.
	surplusMax = 4
	// versionsMax bounds the versions whose time of publication is known: × 48
	// bytes = 48 KiB.
	versionsMax = 1024
	// placesMax bounds the places that a tracer was at within a grace time.
	placesMax = 16
	// lanes is how many requests are under way to one proxy: one that hangs for
	// a timeout does not keep the proxy from being tried meanwhile.
	lanes = 4
	// answerMax bounds an answer's body: × lanes × proxies is what is in memory.
	answerMax = 256 << 10
	// adminMax bounds an answer of an admin server: 256 passports are 200 KiB.
	adminMax = 4 << 20
	// adminWaitMax bounds a question to an admin server, adminEvery is how old
	// its answer may be.
	adminWaitMax = 2 * time.Second
	adminEvery   = time.Second
	// refreshEvery is the pace at which the map is read because of an answer
	// that does not fit it.
	refreshEvery = time.Second
	// refreshMax bounds that reading.
	refreshMax = 5 * time.Second
	// fleetEvery is how often the fleet is asked who is alive.
	fleetEvery = 5 * time.Second
	// recentMax bounds the results that were not right and are shown: × 1 KiB.
	recentMax = 100
	// whyMax bounds what a result quotes of an answer.
	whyMax = 300
)
