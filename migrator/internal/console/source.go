package console

import (
	"cmp"
	"context"
	"encoding/json"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/errgroup"

	"drover/bucketmap"
	"drover/internal/pause"
)

// Source is one thing that the page shows.
type Source interface {
	// Topic is the name of its events, such as "moves": a word that is also the
	// name of the panel that shows it.
	Topic() string
	// Watch calls told with what there is to show, at once and at every change,
	// until ctx ends, one call after the other. It is put into JSON, of topicBytesMax at
	// most, and must not be changed any more. Calls between two looks at it may be
	// skipped: the newest counts. An error is shown beside what was told last, and
	// Watch is called again. What is Growing is told as such.
	Watch(ctx context.Context, told func(value any)) error
}

// Growing is what a Source may tell where the whole is long and each change to it
// is short.
type Growing struct {
	// Whole is for a browser that comes, or comes again; Change is for one that has
	// had the Whole, or the Change, before.
	Whole, Change any
}

// Maps is where the console gets the map and its history from.
type Maps interface {
	Watch(ctx context.Context, changed func(*bucketmap.Snapshot, error)) error
	History(ctx context.Context) ([]bucketmap.Record, error)
	At(ctx context.Context, version bucketmap.Version) (*bucketmap.Snapshot, error)
}

const (
	// topicBytesMax bounds one event: × streamBuffer × streamsMax is not
	// reached, as streams share what they have not sent yet.
	topicBytesMax = 4 << 20
	// topicGap is between two events of one topic: 10 a second are more than
	// anybody reads, and a map may have more versions than that.
	topicGap = 100 * time.Millisecond
	// watchAgainMax bounds the wait before what failed is watched again.
	watchAgainMax = 10 * time.Second
)

// report is what one event of a topic carries.
type report struct {
	// Error says why Value is old, or not there; Since is when that began.
	Error string          `json:"error,omitempty"`
	Since time.Time       `json:"since,omitzero"`
	Value json.RawMessage `json:"value,omitempty"`
}

// newest keeps one value, the last one that was put.
type newest[T any] chan T

func (n newest[T]) put(v T) {
	for {
		select {
		case n <- v:
			return
		default:
		}
		select {
		case <-n:
		default:
		}
	}
}

// told is what a source said last, and why there is nothing newer.
type told struct {
	value any
	has   bool
	err   error
}

// follow passes on what a source says until ctx ends.
func (h *hub) follow(ctx context.Context, s Source) error {
	said := make(newest[told], 1)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		var last told
		WatchAgain(ctx, func() error {
			return s.Watch(ctx, func(v any) {
				last = told{value: v, has: true}
				said.put(last)
			})
		}, func(err error) {
			last.err = err
			said.put(last)
		})
		return nil
	})
	g.Go(func() error {
		var last report
		return paced(ctx, said, func(t told) { last = h.tell(s.Topic(), last, t) })
	})
	return g.Wait()
}

// tell publishes what a source said, after last, and returns it.
func (h *hub) tell(topic string, last report, t told) report {
	growing, grows := t.value.(Growing)
	if grows && t.err == nil {
		return h.grow(topic, growing)
	}
	if grows {
		t.value = growing.Whole
	}
	next := report{Value: last.Value}
	if t.has {
		text, err := bounded(t.value)
		if err == nil {
			next.Value = text
		} else {
			t.err = err
		}
	}
	if t.err != nil {
		next.Error, next.Since = t.err.Error(), last.Since
		if last.Error == "" {
			next.Since = h.now().UTC()
		}
	}
	h.publish(topic, next.text())
	return next
}

// grow publishes a change, and the whole for who comes.
func (h *hub) grow(topic string, g Growing) report {
	said := func(value any) report {
		text, err := bounded(value)
		if err != nil {
			return report{Error: err.Error(), Since: h.now().UTC()}
		}
		return report{Value: text}
	}
	next := said(g.Change)
	h.renew(topic, next.text(), func() []byte { return said(g.Whole).text() })
	return next
}

// text is the report as JSON. There is always one: it is text, a time and what
// was marshalled before.
func (r report) text() []byte {
	text, err := json.Marshal(r)
	if err != nil {
		text, _ = json.Marshal(report{Error: err.Error()})
	}
	return text
}

// bounded puts a value into JSON.
func bounded(value any) ([]byte, error) {
	text, err := json.Marshal(value)
	if err == nil && len(text) > topicBytesMax {
		err = errTooMuch
	}
	return text, err
}

// WatchAgain calls do again whenever it ends, with longer and longer waits when
// it fails at once, until ctx ends. Why it ended is told to failed before.
func WatchAgain(ctx context.Context, do func() error, failed func(error)) {
	wait := backoff.NewExponentialBackOff()
	wait.MaxInterval = watchAgainMax
	for ctx.Err() == nil {
		began := time.Now()
		err := cmp.Or(do(), errEnded)
		if ctx.Err() != nil {
			break
		}
		failed(err)
		if time.Since(began) > watchAgainMax {
			wait.Reset()
		}
		_ = pause.For(ctx, wait.NextBackOff()) // the loop sees the end
	}
}

// paced calls do with the newest value, once in topicGap, until ctx ends.
func paced[T any](ctx context.Context, from newest[T], do func(T)) error {
	for ctx.Err() == nil {
		select {
		case v := <-from:
			do(v)
		case <-ctx.Done():
		}
		_ = pause.For(ctx, topicGap) // the loop sees the end
	}
	return nil
}
