package console

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// streamsMax bounds the browsers that follow at once: a team and its screens
	// on the wall.
	streamsMax = 64
	// streamBuffer is how many events a slow browser may be behind: 6 seconds of
	// a topic that changes all the time.
	streamBuffer = 64
	// deltasMax bounds the grid's changes that are kept for who comes again:
	// 25 seconds of a map that changes all the time; × deltaRunsMax × 24 bytes =
	// 12 MiB at worst.
	deltasMax = 256
)

var (
	errTooMuch     = errors.New("there is more of it than fits on the page")
	errEnded       = errors.New("it ended by itself and is begun again")
	errManyStreams = fmt.Errorf("%d browsers follow already: close one", streamsMax)
)

// topicGrid is the one topic whose events are changes, each needed.
const topicGrid = "grid"

// event is one server-sent event, as it goes out.
type event struct {
	seq  uint64
	data []byte // what it carries, to know it from the one before
	wire []byte
	// whole, if not nil, makes what it carries for who has not had the one before:
	// it is long, and not made until somebody comes.
	whole func() []byte
}

// hub keeps the newest event of every topic and passes events on.
type hub struct {
	boot string // this run's own word: an id of another run's event is no use
	now  func() time.Time

	mu struct {
		sync.Mutex
		seq     uint64
		topics  map[string]*event
		deltas  []*event // of the grid, the newest last
		streams map[*stream]bool
	}
}

// stream is one browser that follows.
type stream struct {
	events chan *event
	// gone is closed when the browser was too slow.
	gone chan struct{}
}

func newHub(now func() time.Time) *hub {
	h := &hub{boot: rand.Text()[:8], now: now}
	h.mu.topics, h.mu.streams = map[string]*event{}, map[*stream]bool{}
	return h
}

// publish makes data the newest of its topic, if it is new. It waits for nobody.
func (h *hub) publish(topic string, data []byte) { h.renew(topic, data, nil) }

// renew is publish of what is enough for who has had the event before. Who comes
// gets what whole makes.
func (h *hub) renew(topic string, data []byte, whole func() []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	was := h.mu.topics[topic]
	if was != nil && bytes.Equal(was.data, data) {
		return
	}
	if was == nil && whole != nil { // nobody has had anything
		data, whole = whole(), nil
	}
	e := h.send(topic, data)
	if whole != nil {
		e = &event{seq: e.seq, data: data, whole: whole}
	}
	h.mu.topics[topic] = e
}

// change publishes a change of the grid.
func (h *hub) change(data []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.deltas = append(h.mu.deltas, h.send(topicGrid, data))
	if over := len(h.mu.deltas) - deltasMax; over > 0 {
		h.mu.deltas = slices.Delete(h.mu.deltas, 0, over)
	}
}

func (h *hub) send(topic string, data []byte) *event {
	h.mu.seq++
	e := &event{seq: h.mu.seq, data: data, wire: h.wire(h.mu.seq, topic, data)}
	for s := range h.mu.streams {
		select {
		case s.events <- e:
		default:
			close(s.gone)
			delete(h.mu.streams, s)
		}
	}
	return e
}

// wire is an event as it goes out.
func (h *hub) wire(seq uint64, topic string, data []byte) []byte {
	return fmt.Appendf(nil, "id: %s.%d\nevent: %s\ndata: %s\n\n", h.boot, seq, topic, data)
}

// join adds a stream, and returns what it has missed since the event of the id:
// the newest of each topic, and of the grid every change that is still kept. A
// browser that misses one sees so by the versions.
func (h *hub) join(lastID string) (*stream, []*event, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.mu.streams) >= streamsMax {
		return nil, nil, errManyStreams
	}
	var missed []*event
	since, known := h.seqOf(lastID)
	for topic, e := range h.mu.topics {
		if e.seq > since {
			if e.whole != nil {
				e.wire, e.whole = h.wire(e.seq, topic, e.whole()), nil
			}
			missed = append(missed, e)
		}
	}
	if known {
		for _, e := range h.mu.deltas {
			if e.seq > since {
				missed = append(missed, e)
			}
		}
	}
	slices.SortFunc(missed, func(a, b *event) int { return int(a.seq) - int(b.seq) })
	s := &stream{events: make(chan *event, streamBuffer), gone: make(chan struct{})}
	h.mu.streams[s] = true
	return s, missed, nil
}

// seqOf reads an event's id, 0 for one that is not of this run.
func (h *hub) seqOf(id string) (seq uint64, known bool) {
	boot, number, ok := strings.Cut(id, ".")
	seq, err := strconv.ParseUint(number, 10, 64)
	if !ok || err != nil || boot != h.boot || seq > h.mu.seq {
		return 0, false
	}
	return seq, true
}

func (h *hub) leave(s *stream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.mu.streams, s)
}
