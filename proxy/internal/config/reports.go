package config

import "time"

// Passport says which requests leave a line. Those that failed always do.
type Passport struct {
	// Slow is from when on a request is slow. 0s: none is.
	Slow time.Duration `yaml:"slow" bounds:"0s..24h"`
	// Sample is the share of all the other requests.
	Sample float64 `yaml:"sample" bounds:"0..1"`
	// Recent is how many of the slow and failed ones the admin server shows.
	Recent int `yaml:"recent" bounds:"1..65536"`
}

// AccessLog is where requests leave their lines. A text in place of the section
// is its path.
type AccessLog struct {
	// Path is stdout, stderr, none or the path of a file, which is appended to.
	Path string `yaml:"path" bounds:"place"`
	// Format is what a line looks like: passport and json are JSON, common and
	// combined are NCSA's. With passport, the requests that the section passport
	// chooses have one; with the others, every request.
	Format string `yaml:"format" bounds:"passport|json|common|combined"`
}

// The words of AccessLog.Format.
const (
	AccessPassport = "passport"
	AccessJSON     = "json"
	AccessCommon   = "common"
	AccessCombined = "combined"
)

// UnmarshalYAML reads the section, or a text, which is its path.
func (a *AccessLog) UnmarshalYAML(decode func(any) error) error {
	type plain AccessLog
	v := plain(Default().AccessLog)
	if decode(&v.Path) == nil {
		*a = AccessLog(v)
		return nil
	}
	v = plain(Default().AccessLog)
	if err := decode(&v); err != nil {
		return err
	}
	*a = AccessLog(v)
	return nil
}

// Trace sends spans of requests to a collector.
type Trace struct {
	// OTLPEndpoint is the collector's address, for OTLP over HTTP. Empty: no
	// spans are made.
	OTLPEndpoint string `yaml:"otlp_endpoint" bounds:"url?"`
	// Sample is the share of the traces that begin here. For one that began
	// elsewhere, its beginner has decided.
	Sample float64 `yaml:"sample" bounds:"0..1"`
	// Service is the name of this program in the spans.
	Service string `yaml:"service" bounds:"label"`
}

// Drain is the orderly end after SIGTERM.
type Drain struct {
	// Delay is from not ready to the listeners' close, so that load balancers
	// see it.
	Delay time.Duration `yaml:"delay" bounds:"0s..1h"`
	// Idle is for how long a connection must have been idle to be closed.
	Idle time.Duration `yaml:"idle" bounds:"0s..1h"`
	// Timeout bounds the wait for requests under way.
	Timeout time.Duration `yaml:"timeout" bounds:"0s..1h"`
}

// Restart is the change to a new binary on SIGUSR2: the new process takes over
// the listeners, then this one drains.
type Restart struct {
	// PIDFile is the path where the number of the serving process is written.
	// Empty: nowhere.
	PIDFile string `yaml:"pid_file" bounds:"file?"`
	// ReadyTimeout is for how long the new process may take until it is ready.
	// After it the old one goes on.
	ReadyTimeout time.Duration `yaml:"ready_timeout" bounds:"1s..1h"`
}

// Log is the program's own log, on stderr.
type Log struct {
	// Level is the least that is written.
	Level string `yaml:"level" bounds:"debug|info|warn|error"`
	// Format is json for machines, text for people.
	Format string `yaml:"format" bounds:"json|text"`
}
