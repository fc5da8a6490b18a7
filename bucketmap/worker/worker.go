package worker

import (
	"bytes"
	"compress/gzip"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"text/template"

	"drover/bucketmap"
)

//go:embed js/worker.mjs js/identity.mjs js/map.mjs js/wrangler.toml js/workerd.capnp
var sources embed.FS

// The platform's limits on a Worker: after compression, by plan, and before.
// See https://developers.cloudflare.com/workers/platform/limits/.
const (
	compressedMaxFree = 3 << 20
	compressedMaxPaid = 10 << 20
	bytesMax          = 64 << 20
)

// datacentersMax is how many a place in map.bin can tell apart.
const datacentersMax = middleMax

// compatibilityDate is the state of the platform that the code was tried on.
const compatibilityDate = "2026-01-01"

var (
	// ErrOptions is the class of options that make no Worker.
	ErrOptions = errors.New("the Worker's options are wrong")
	// ErrTooLarge is the class of exports that the platform would refuse.
	ErrTooLarge = errors.New("the Worker is too large")
)

// File is one file of an export.
type File struct {
	Name string
	Data []byte
}

// Bundle is an export that is not written yet.
type Bundle struct {
	Files      []File
	Version    bucketmap.Version
	Bytes      int // of what is uploaded: code, map and configuration
	Compressed int // the same by gzip, which is what the platform's limit is for
	Limit      int // on Compressed, by the plan
	// LeftOut is how many whitelisted users a Worker cannot know by their ids:
	// they go to the default.
	LeftOut int
}

// Build makes an export of a map. Its error is of class ErrOptions or
// ErrTooLarge, and tells every problem at once.
func Build(s *bucketmap.Snapshot, o Options) (*Bundle, error) {
	o = o.withDefaults()
	datacenters := s.Datacenters()
	if len(datacenters) > datacentersMax {
		return nil, fmt.Errorf("%w: %d datacenters: a Worker can have %d: drop those that have no shards", ErrOptions, len(datacenters), datacentersMax)
	}
	c, err := o.configuration(datacenters)
	if err != nil {
		return nil, fmt.Errorf("%w:\n%w", ErrOptions, err)
	}
	b := &Bundle{Version: s.Version(), Limit: compressedMaxFree}
	if o.Plan == PlanPaid {
		b.Limit = compressedMaxPaid
	}
	var data []byte
	data, c.Tag, b.LeftOut = encodeMap(s, o.Now, o.HoldMax)
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write config.json: %w", err)
	}
	for _, name := range []string{"worker.mjs", "identity.mjs", "map.mjs"} {
		if err := b.addSource(name); err != nil {
			return nil, err
		}
	}
	b.add("map.bin", data)
	b.add("config.json", append(text, '\n'))
	if err := b.measure(o.Plan); err != nil {
		return nil, err
	}
	values := struct{ Name, Listen, Date string }{o.Name, o.Listen, compatibilityDate}
	for _, name := range []string{"wrangler.toml", "workerd.capnp"} {
		if err := b.addTemplate(name, values); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// Export writes the map as a Worker into a folder, which it makes if need be.
// What else is there stays. It is Build and Write.
func Export(dir string, s *bucketmap.Snapshot, o Options) error {
	b, err := Build(s, o)
	if err != nil {
		return fmt.Errorf("export map version %d as a Worker: %w", s.Version(), err)
	}
	return b.Write(dir)
}

func (b *Bundle) add(name string, data []byte) { b.Files = append(b.Files, File{name, data}) }

func (b *Bundle) addSource(name string) error {
	data, err := sources.ReadFile("js/" + name)
	if err != nil {
		return fmt.Errorf("read the Worker's code: %w", err)
	}
	b.add(name, data)
	return nil
}

// addTemplate adds a file with values in it, all of which the options' checks
// have found to be plain texts.
func (b *Bundle) addTemplate(name string, values any) error {
	t, err := template.New(name).ParseFS(sources, "js/"+name)
	if err != nil {
		return fmt.Errorf("read the Worker's settings: %w", err)
	}
	var text bytes.Buffer
	if err := t.Execute(&text, values); err != nil {
		return fmt.Errorf("write the Worker's settings: %w", err)
	}
	b.add(name, text.Bytes())
	return nil
}

// measure checks the size of what is there so far, as the platform does.
func (b *Bundle) measure(plan Plan) error {
	var compressed counter
	zip := gzip.NewWriter(&compressed)
	for _, f := range b.Files {
		b.Bytes += len(f.Data)
		if _, err := zip.Write(f.Data); err != nil {
			return fmt.Errorf("compress the Worker: %w", err)
		}
	}
	if err := zip.Close(); err != nil {
		return fmt.Errorf("compress the Worker: %w", err)
	}
	b.Compressed = int(compressed)
	if b.Compressed <= b.Limit && b.Bytes <= bytesMax {
		return nil
	}
	remedy := "whitelist fewer users"
	if plan == PlanFree && b.Compressed <= compressedMaxPaid && b.Bytes <= bytesMax {
		remedy = "choose the paid plan, or " + remedy
	}
	return fmt.Errorf("%w: %d bytes, %d compressed: the %s plan takes %d and %d: %s",
		ErrTooLarge, b.Bytes, b.Compressed, plan, bytesMax, b.Limit, remedy)
}

// counter is a writer that counts.
type counter int

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
