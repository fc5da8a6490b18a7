package config

import (
	"fmt"
	"regexp"
	"slices"
	"time"

	"drover/internal/config"
	"drover/proxy/internal/mirror"
)

// Mirror sends a share of the safe requests of chosen users to a second
// datacenter too, once they are answered, and compares the answers. The admin
// server shows what differs at /mirror.
type Mirror struct {
	// Share is the share of the users, by a hash of id and salt. 0: nothing is
	// mirrored.
	Share float64 `yaml:"share" bounds:"0..1"`
	// Salt chooses other users. The same one in every proxy chooses the same
	// users everywhere.
	Salt string `yaml:"salt" bounds:"label"`
	// Users are those of whom the share is: all of them, those on a whitelist, or
	// those of user_ids.
	Users string `yaml:"users" bounds:"all|whitelist|listed"`
	// UserIDs are the users of listed.
	UserIDs []string `yaml:"user_ids" bounds:"user" count:"0..1024"`
	// Methods are those whose requests are mirrored. Any other could change
	// something twice.
	Methods []string `yaml:"methods" bounds:"GET|HEAD" count:"1..2"`
	// Datacenters are the two: what one of them answered is sent to the other
	// too. Wanted with a share.
	Datacenters []string `yaml:"datacenters" bounds:"name" count:"0..2"`
	// Timeout is of one mirrored request, with its whole answer.
	Timeout time.Duration `yaml:"timeout" bounds:"1ms..10m"`
	// Concurrency is how many mirrored requests are under way.
	Concurrency int `yaml:"concurrency" bounds:"1..1024"`
	// Queue is how many wait, or are being answered to their users. When it is
	// full, the next is not mirrored, and counted as dropped.
	Queue int `yaml:"queue" bounds:"1..65536"`
	// BodyMax is how long an answer's body may be that is compared. So much of
	// memory times queue and concurrency is taken at worst.
	BodyMax config.Bytes `yaml:"body_max" bounds:"0..64MiB"`
	// Noise auto learns, for each class of paths, which fields differ from one
	// answer of a datacenter to its next, such as random ids and times, and leaves
	// them out. With off, every difference counts.
	Noise string `yaml:"noise" bounds:"auto|off"`
	// NoiseShare is the share of the mirrored requests that are sent to the user's
	// own datacenter once more, to learn. What differs is sent once more in any
	// case.
	NoiseShare float64      `yaml:"noise_share" bounds:"0..1"`
	Ignore     MirrorIgnore `yaml:"ignore"`
	// Examples is how many differing answers /mirror shows, their values shortened
	// to 120 bytes. 0: none is kept.
	Examples int `yaml:"examples" bounds:"0..1024"`
}

// MirrorIgnore is what is not compared.
type MirrorIgnore struct {
	// Headers are names of header fields. Date and those of the connection are
	// never compared.
	Headers []string `yaml:"headers" bounds:"token" count:"0..256"`
	// JSON are paths of values, with all that is in them: $ is the whole, .key or
	// ['any key'] an entry of an object, [0] one of a list, .* or [*] any, ..key a
	// key at any depth.
	JSON []string `yaml:"json" bounds:"json path" count:"0..256"`
	// Text are regular expressions (RE2) whose matches are cut out of bodies that
	// are no JSON.
	Text []string `yaml:"text" bounds:"expression" count:"0..64"`
}

// The words of Mirror.Users and Mirror.Noise.
const (
	MirrorAll       = "all"
	MirrorWhitelist = "whitelist"
	MirrorListed    = "listed"
	MirrorNoiseAuto = "auto"
)

func defaultMirror() Mirror {
	return Mirror{
		Salt: "drover", Users: MirrorAll, Methods: []string{"GET", "HEAD"},
		Timeout: 5 * time.Second, Concurrency: 8, Queue: 256,
		BodyMax: 64 * config.KiB, // × (256 + 8) = 16.5 MiB at worst
		Noise:   MirrorNoiseAuto, NoiseShare: 0.05, Examples: 64,
	}
}

// Rules makes the rules of what is not compared.
func (m *Mirror) Rules() (*mirror.Rules, error) {
	return mirror.NewRules(m.Ignore.Headers, m.Ignore.JSON, m.Ignore.Text)
}

func (c *Config) mirrorProblems(p *config.Problems) {
	m := &c.Mirror
	for i, dc := range m.Datacenters {
		_, known := c.Datacenters[dc]
		p.Want(known && slices.Index(m.Datacenters, dc) == i, fmt.Sprintf("mirror.datacenters[%d]", i), dc, "one of datacenters, once")
	}
	p.Want(m.Share == 0 || len(m.Datacenters) == 2, "mirror.datacenters", entries(len(m.Datacenters)), "two of datacenters, with a share")
	for i, method := range m.Methods {
		p.Want(slices.Index(m.Methods, method) == i, fmt.Sprintf("mirror.methods[%d]", i), method, "each method once")
	}
	listed := m.Users == MirrorListed
	p.Want(listed == (len(m.UserIDs) != 0), "mirror.user_ids", entries(len(m.UserIDs)), "one user or more with users: listed, none without")
}

// jsonPath and expression are forms.
func jsonPath(s string) bool { return line(s, textMax) && mirror.ParsePath(s) == nil }

func expression(s string) bool {
	_, err := regexp.Compile(s)
	return line(s, textMax) && err == nil
}
