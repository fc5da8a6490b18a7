package slow

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"drover/bench/edge/internal/scene"
)

func TestBodiesComeByteByByteAndClientsThatAreCutOffComeAgain(t *testing.T) {
	var bodies, cuts atomic.Int64
	enough := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet { // who reads slowly is cut off
			if cuts.Add(1) == 4 {
				close(enough)
			}
			panic(http.ErrAbortHandler)
		}
		begin := time.Now()
		body, err := io.ReadAll(r.Body)
		if err == nil && len(body) == bodyLength && time.Since(begin) >= (bodyLength-1)*pauseMin {
			bodies.Add(1)
		}
		if !strings.HasPrefix(r.Header.Get("X-User-Id"), scene.UserPrefix) {
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	defer s.Close()
	c, err := Start(t.Context(), s.Listener.Addr().String(), 6)
	if err != nil {
		t.Fatal(err)
	}
	<-enough
	for deadline := time.Now().Add(20 * time.Second); c.finished.Load() == 0 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	totals := c.Stop()
	if totals.Finished < 1 || totals.Refused != 0 || totals.Cut < 3 || bodies.Load() < totals.Finished {
		t.Errorf("%+v, %d bodies", totals, bodies.Load())
	}
}

func TestNobodyListeningIsSaidAtOnce(t *testing.T) {
	s := httptest.NewServer(nil)
	address := s.Listener.Addr().String()
	s.Close()
	if _, err := Start(t.Context(), address, 3); err == nil {
		t.Error("started without a peer")
	}
}
