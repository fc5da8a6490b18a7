package mirror

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"drover/bucketmap"
	"drover/internal/parity"
	"drover/proxy/internal/metrics"
)

const (
	classesMax = 256 // route classes; the others are one
	otherClass = "other"

	// probesMin is how many probes a class must have before only a share of its
	// requests is one.
	probesMin = 20
	// noiseSeenMin and noiseOneIn make a field noise: it differed in so many
	// probes, and in one of so many. A user who writes between the two answers
	// changes a field too, and makes no noise of it.
	noiseSeenMin = 2
	noiseOneIn   = 100

	// noiseFieldsMax bounds the fields of a class that differed in a probe, and
	// variantsMax the sets of fields, variantFieldsMax long, that differed between
	// the datacenters: a name is stepsNamed × 40 bytes at worst, so that a class
	// takes 60 + 60 KiB, and all of them 30 MiB.
	noiseFieldsMax   = 128
	variantsMax      = 16
	variantFieldsMax = 8

	// shownMax is how many differences an example has.
	shownMax = 16
	// alikeMax is how many examples of one class differ in the same fields.
	alikeMax = 4
)

// class is what is known of a route class. It belongs to the ledger's lock.
type class struct {
	name    string
	counts  parity.Counts // but Different, which is the sum of variants and rest
	probes  uint64
	seen    map[string]uint64 // fields, by the probes in which they differed
	noise   map[string]bool   // replaced, never changed
	differs map[string]*variant
	rest    uint64 // different, in sets of fields for which there was no place
}

// variant is a set of fields in which answers differed.
type variant struct {
	fields []variantField
	count  uint64
}

type variantField struct {
	name   string
	within []string
}

// ledger counts.
type ledger struct {
	mu          sync.Mutex
	classes     map[string]*class
	examples    []kept // the newest last
	examplesMax int
	failure     *parity.Failure
}

// kept is an example with the set of fields that it is of.
type kept struct {
	parity.Example
	key string
}

func (l *ledger) init(examples int) { l.classes, l.examplesMax = map[string]*class{}, examples }

// class returns a route class, which is the one for all others when there are
// too many.
func (l *ledger) class(name string) *class {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.classes[name]; c != nil {
		return c
	}
	if len(l.classes) >= classesMax-1 {
		name = otherClass
		if c := l.classes[name]; c != nil {
			return c
		}
	}
	c := &class{name: name, seen: map[string]uint64{}, differs: map[string]*variant{}}
	l.classes[name] = c
	return c
}

// known returns what is noise now. Nobody changes it.
func (l *ledger) known(c *class) map[string]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return c.noise
}

func (l *ledger) learning(c *class) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return c.probes < probesMin
}

// learn takes what differed in a probe.
func (l *ledger) learn(c *class, own comparison) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.probes++
	for _, d := range own.differences {
		if d.field == fieldStatus || d.field == fieldMore {
			continue // with them nothing would be left to compare
		}
		if _, known := c.seen[d.field]; !known && len(c.seen) >= noiseFieldsMax && !c.forget() {
			continue
		}
		c.seen[d.field]++
	}
	noise := map[string]bool{}
	for f, n := range c.seen {
		if n >= noiseSeenMin && n*noiseOneIn >= c.probes {
			noise[f] = true
		}
	}
	if !maps.Equal(noise, c.noise) {
		c.noise = noise
	}
}

// forget makes a place among the fields that were seen to differ. It says
// whether one was seen but once.
func (c *class) forget() bool {
	for f, n := range c.seen {
		if n < noiseSeenMin {
			delete(c.seen, f)
			return true
		}
	}
	return false
}

// count counts an outcome that has no more to it.
func (l *ledger) count(c *class, o metrics.MirrorOutcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch o {
	case metrics.MirrorSame:
		c.counts.Same++
	case metrics.MirrorNoise:
		c.counts.Noise++
	case metrics.MirrorFailed:
		c.counts.Failed++
	case metrics.MirrorTimeout:
		c.counts.Timeout++
	case metrics.MirrorDifferent, metrics.MirrorDropped: // different's and Mirror.drop's
	}
}

// failed counts a request with no answer, and keeps why.
func (l *ledger) failed(c *class, o metrics.MirrorOutcome, dc bucketmap.Datacenter, err error) {
	l.count(c, o)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failure = &parity.Failure{At: time.Now(), Datacenter: string(dc), Error: shorten(err.Error(), fieldMax)}
}

// different counts a request whose answers differ.
func (l *ledger) different(c *class, found []difference, e parity.Example) {
	var names []string
	v := &variant{}
	for _, d := range found {
		names = append(names, d.field)
		v.fields = append(v.fields, variantField{d.field, d.within})
	}
	key := strings.Join(names, "\n")
	l.mu.Lock()
	defer l.mu.Unlock()
	switch known := c.differs[key]; {
	case known != nil:
		v = known
	case len(c.differs) < variantsMax && len(found) <= variantFieldsMax:
		c.differs[key] = v
	default:
		c.rest++
		v = nil
	}
	if v != nil {
		v.count++
	}
	l.keep(kept{e, key})
}

// keep keeps an example: in the place of the oldest of its kind when there are
// enough of them, else of the oldest of all.
func (l *ledger) keep(e kept) {
	if l.examplesMax == 0 {
		return
	}
	alike, first := 0, -1
	for i := range l.examples {
		if l.examples[i].Class == e.Class && l.examples[i].key == e.key {
			if alike++; first < 0 {
				first = i
			}
		}
	}
	switch {
	case alike >= alikeMax:
		l.examples = slices.Delete(l.examples, first, first+1)
	case len(l.examples) >= l.examplesMax:
		l.examples = slices.Delete(l.examples, 0, 1)
	}
	l.examples = append(l.examples, e)
}

// isNoise says whether every field is noise by now.
func (c *class) isNoise(v *variant) bool {
	return !slices.ContainsFunc(v.fields, func(f variantField) bool {
		return !slices.ContainsFunc(f.within, func(name string) bool { return c.noise[name] })
	})
}
