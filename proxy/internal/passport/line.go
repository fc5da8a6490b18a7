package passport

import (
	"math"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"drover/bucketmap"
)

// pathBytesMax bounds the path in a line, headerBytesMax each header in it.
const (
	pathBytesMax   = 256
	headerBytesMax = 256
)

// Line is a passport as the admin server shows it. Timers are in milliseconds;
// -1 is a state that was not reached.
type Line struct {
	Time       time.Time            `json:"time"` // of its end, UTC
	Method     string               `json:"method"`
	Path       string               `json:"path"`
	Protocol   string               `json:"protocol"`
	Status     int                  `json:"status"`
	BytesIn    int64                `json:"bytes_in"`
	BytesOut   int64                `json:"bytes_out"`
	Bucket     int64                `json:"bucket"` // -1: no user
	Datacenter bucketmap.Datacenter `json:"datacenter"`
	Reason     string               `json:"reason"`
	MapVersion bucketmap.Version    `json:"map_version"`
	Upstream   string               `json:"upstream"`
	Attempts   int                  `json:"attempts"`
	Retries    int                  `json:"retries"`
	Reroutes   int                  `json:"reroutes"`
	End        string               `json:"end"`
	Code       string               `json:"code"`
	TotalMS    float64              `json:"total_ms"`
	OwnMS      float64              `json:"own_ms"`
	TimersMS   map[string]float64   `json:"timers_ms"`
}

// AppendLine appends the passport's line: a JSON object with the keys of Line.
func AppendLine(dst []byte, p *Passport, now time.Time) []byte {
	return append(p.appendKeys(dst, now), "}\n"...)
}

// AppendLineWithClient appends the same with what the client said of itself:
// its address and two of its headers.
func AppendLineWithClient(dst []byte, p *Passport, now time.Time) []byte {
	dst = append(p.appendKeys(dst, now), `,"peer":"`...)
	if p.Peer.IsValid() {
		dst = netip.AddrPortFrom(p.Peer.Addr().Unmap(), p.Peer.Port()).AppendTo(dst)
	}
	dst = appendJSON(append(dst, `","user_agent":`...), p.UserAgent[:min(len(p.UserAgent), headerBytesMax)])
	dst = appendJSON(append(dst, `,"referer":`...), p.Referer[:min(len(p.Referer), headerBytesMax)])
	return append(dst, "}\n"...)
}

func (p *Passport) appendKeys(dst []byte, now time.Time) []byte {
	dst = now.UTC().AppendFormat(append(dst, `{"time":"`...), time.RFC3339Nano)
	dst = appendJSON(append(dst, `","method":`...), p.Method)
	dst = appendJSON(append(dst, `,"path":`...), p.Path[:min(len(p.Path), pathBytesMax)])
	dst = appendJSON(append(dst, `,"protocol":`...), p.Protocol)
	dst = strconv.AppendInt(append(dst, `,"status":`...), int64(p.Status), 10)
	dst = strconv.AppendInt(append(dst, `,"bytes_in":`...), p.BytesIn, 10)
	dst = strconv.AppendInt(append(dst, `,"bytes_out":`...), p.BytesOut, 10)
	dst = strconv.AppendInt(append(dst, `,"bucket":`...), p.bucket(), 10)
	dst = appendJSON(append(dst, `,"datacenter":`...), p.Datacenter)
	dst = appendJSON(append(dst, `,"reason":`...), p.Reason)
	dst = strconv.AppendUint(append(dst, `,"map_version":`...), uint64(p.MapVersion), 10)
	dst = appendJSON(append(dst, `,"upstream":`...), p.Upstream)
	dst = strconv.AppendInt(append(dst, `,"attempts":`...), int64(p.Attempts), 10)
	dst = strconv.AppendInt(append(dst, `,"retries":`...), int64(p.Retries), 10)
	dst = strconv.AppendInt(append(dst, `,"reroutes":`...), int64(p.Reroutes), 10)
	dst = appendJSON(append(dst, `,"end":`...), p.End)
	dst = appendJSON(append(dst, `,"code":`...), p.Code[:])
	dst = appendMilliseconds(append(dst, `,"total_ms":`...), p.times.Total)
	dst = appendMilliseconds(append(dst, `,"own_ms":`...), p.times.Own)
	dst = append(dst, `,"timers_ms":{`...)
	for s := range Done {
		if s != 0 {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, '"'), names[s]...), `":`...)
		dst = appendMilliseconds(dst, p.times.In[s])
	}
	return append(dst, '}')
}

func (p *Passport) bucket() int64 {
	if !p.HasBucket {
		return -1
	}
	return int64(p.Bucket)
}

// appendMilliseconds appends a number with three digits behind its point, and
// -1 for a time that was not taken.
func appendMilliseconds(dst []byte, d time.Duration) []byte {
	if d < 0 {
		return append(dst, "-1"...)
	}
	us := int64((d + time.Microsecond/2) / time.Microsecond)
	dst = strconv.AppendInt(dst, us/1000, 10)
	rest := us % 1000
	return append(dst, '.', byte('0'+rest/100), byte('0'+rest/10%10), byte('0'+rest%10))
}

func milliseconds(d time.Duration) float64 {
	if d < 0 {
		return -1
	}
	return math.Round(float64(d)/float64(time.Microsecond)) / 1000
}

// ring keeps the last slow and failed requests.
type ring struct {
	max int

	mu   sync.Mutex // guards what follows
	kept []kept
	next int
}

type kept struct {
	line   Line // without its timers
	timers [stateCount]time.Duration
}

func (r *ring) add(p *Passport, now time.Time) {
	if r.max <= 0 {
		return
	}
	k := kept{timers: p.times.In, line: Line{
		Time: now.UTC(), Method: p.Method, Path: string(p.Path[:min(len(p.Path), pathBytesMax)]), Protocol: p.Protocol,
		Status: p.Status, BytesIn: p.BytesIn, BytesOut: p.BytesOut, Bucket: p.bucket(), Datacenter: p.Datacenter,
		Reason: p.Reason, MapVersion: p.MapVersion, Upstream: p.Upstream, Attempts: p.Attempts, Retries: p.Retries,
		Reroutes: p.Reroutes, End: p.End, Code: p.Code.String(),
		TotalMS: milliseconds(p.times.Total), OwnMS: milliseconds(p.times.Own),
	}}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.kept) < r.max {
		r.kept = append(r.kept, k)
	} else {
		r.kept[r.next] = k
	}
	r.next = (r.next + 1) % r.max
}

// lines returns them, the newest first.
func (r *ring) lines() []Line {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.kept)
	lines := make([]Line, 0, n)
	for i := range n {
		k := &r.kept[(r.next-1-i+2*n)%n]
		line := k.line
		line.TimersMS = make(map[string]float64, stateCount)
		for s := range Done {
			line.TimersMS[names[s]] = milliseconds(k.timers[s])
		}
		lines = append(lines, line)
	}
	return lines
}
