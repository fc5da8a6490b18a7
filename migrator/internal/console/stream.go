package console

import (
	"fmt"
	"net/http"
	"time"
)

const (
	// beatEvery tells a browser that the line is alive; after three without a
	// word it says that it is not, and comes again.
	beatEvery = 5 * time.Second
	// writeWaitMax is how long a browser may take to read what was sent.
	writeWaitMax = 10 * time.Second
	// comeAgain is after how long a browser whose line was cut comes again.
	comeAgain = time.Second
)

// events serves the stream of events.
func (s *Server) events(w http.ResponseWriter, r *http.Request, who *identity) {
	stream, missed, err := s.hub.join(r.Header.Get("Last-Event-ID"))
	if err != nil {
		w.Header().Set("Retry-After", "10")
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer s.hub.leave(stream)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // of a proxy before us
	line := http.NewResponseController(w)
	// The server's limit is for requests; this one goes on.
	if err := line.SetReadDeadline(time.Time{}); err != nil {
		return
	}
	send := func(wire []byte) bool {
		if err := line.SetWriteDeadline(time.Now().Add(writeWaitMax)); err != nil {
			return false
		}
		if _, err := w.Write(wire); err != nil {
			return false
		}
		return line.Flush() == nil
	}
	wire := fmt.Appendf(nil, "retry: %d\n\n", comeAgain.Milliseconds())
	for _, e := range missed {
		wire = append(wire, e.wire...)
	}
	if !send(append(wire, beat()...)) {
		return
	}
	beats := time.NewTicker(beatEvery)
	defer beats.Stop()
	for {
		select {
		case e := <-stream.events:
			if !send(e.wire) {
				return
			}
		case <-beats.C:
			// Who has logged out, or whose session is over, sees no more.
			if !s.stillIn(who) || !send(beat()) {
				return
			}
		case <-stream.gone:
			return
		case <-r.Context().Done():
			return
		case <-s.ending:
			return
		}
	}
}

// beat has no id: it is nothing to come again for.
func beat() []byte { return []byte("event: beat\ndata: {}\n\n") }
