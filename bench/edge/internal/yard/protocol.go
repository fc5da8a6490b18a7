package yard

import (
	"errors"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"drover/bench/edge/internal/scene"
	"drover/bench/internal/proc"
)

// Command is one line to the process, as JSON. Op says which fields count.
type Command struct {
	Op          Op            `json:"op"`
	Target      string        `json:"target,omitempty"`      // load, open: the peer's address
	Connections int           `json:"connections,omitempty"` // load, open
	Rate        int           `json:"rate,omitempty"`        // load: requests a second; 0 is as many as go
	Ramp        time.Duration `json:"ramp,omitempty"`        // load: not measured
	Last        time.Duration `json:"last,omitempty"`        // load: measured; collect: at most
	Seed        uint64        `json:"seed,omitempty"`        // load: of the order of users
	Core        int           `json:"core"`                  // load: that the loop is bound to; negative is none
	Pids        []int         `json:"pids,omitempty"`        // load: whose CPU time is read
	First       int           `json:"first,omitempty"`       // send: on this connection and those after it
	Users       []scene.User  `json:"users,omitempty"`       // send: one request each
}

// Op is what the process is to do.
type Op string

// The commands.
const (
	OpLoad    Op = "load"    // open, send without end, close
	OpOpen    Op = "open"    // open connections
	OpSend    Op = "send"    // send a request on each connection; the count of arrivals begins anew
	OpCollect Op = "collect" // wait until all are answered
	OpClose   Op = "close"   // close the connections
)

// hello is the process's first line.
type hello struct {
	Origins [2]string `json:"origins"`
}

// Result is one line from the process.
type Result struct {
	Error string `json:"error,omitempty"` // the command failed
	// Load and collect:
	Answered int            `json:"answered"`
	Errors   int            `json:"errors"`
	Wrong    int            `json:"wrong"`           // of Errors: another datacenter's or user's answer
	Kinds    map[string]int `json:"kinds,omitempty"` // of errors
	Latency  Latency        `json:"latency"`
	// Load:
	Elapsed time.Duration `json:"elapsed"`
	CPU     proc.CPU      `json:"cpu"`    // of Pids, in the measured time
	Yard    proc.CPU      `json:"yard"`   // of the process itself
	Others  time.Duration `json:"others"` // of all other processes of the machine
	// Collect:
	Arrivals    int   `json:"arrivals"`     // requests that reached an origin since send
	LastArrival int64 `json:"last_arrival"` // of them, by Monotonic
}

// Latency is quantiles of the times of answers.
type Latency struct {
	P50, P99, P999, Max time.Duration
}

const (
	latencyMax = time.Minute // longer ones count as this
	kindsMax   = 16          // distinct errors kept
)

// count is what both ways of sending share: answers and errors.
type count struct {
	result Result
	hist   *hdrhistogram.Histogram // microseconds
}

func newCount() count { return count{hist: hdrhistogram.New(1, latencyMax.Microseconds(), 3)} }

func (c *count) answer(latency time.Duration) {
	c.result.Answered++
	// What is out of range cannot be: it is cut to it.
	_ = c.hist.RecordValue(min(max(latency, 1), latencyMax).Microseconds())
}

func (c *count) fail(err error) {
	c.result.Errors++
	if errors.Is(err, scene.ErrDatacenter) || errors.Is(err, scene.ErrUser) {
		c.result.Wrong++
	}
	if c.result.Kinds == nil {
		c.result.Kinds = map[string]int{}
	}
	text := err.Error()
	if _, known := c.result.Kinds[text]; !known && len(c.result.Kinds) == kindsMax {
		text = "other errors"
	}
	c.result.Kinds[text]++
}

// done returns the result with its latencies.
func (c *count) done() Result {
	at := func(q float64) time.Duration { return time.Duration(c.hist.ValueAtQuantile(q)) * time.Microsecond }
	c.result.Latency = Latency{P50: at(50), P99: at(99), P999: at(99.9), Max: time.Duration(c.hist.Max()) * time.Microsecond}
	return c.result
}
