package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// screen is where people look: lines, and on a terminal progress bars.
type screen struct {
	terminal bool

	mu  sync.Mutex // guards what follows, and writing
	out io.Writer
	bar *progressbar.ProgressBar // of the act under way, on a terminal
}

func newScreen(out io.Writer, terminal bool) *screen { return &screen{out: out, terminal: terminal} }

// Write writes text that has its own lines, a table for example.
func (s *screen) Write(text []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(text)
}

// line prints a line, above the progress bar when there is one.
func (s *screen) line(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.print(format, args...)
}

func (s *screen) print(format string, args ...any) {
	if s.bar != nil {
		s.bar.Clear() //nolint:errcheck // a terminal that went away is nobody's error
	}
	fmt.Fprintf(s.out, format+"\n", args...)
	if s.bar != nil {
		s.bar.RenderBlank() //nolint:errcheck // as above
	}
}

// progress is one act's way through its steps.
type progress struct {
	screen *screen
	max    int
	done   int
	doing  string
	began  time.Time // the step under way

	figures func() string // what the load does
	stop    chan struct{}
	ticks   sync.WaitGroup
}

const refresh = 200 * time.Millisecond

// begin shows the progress of so many steps. figures is shown beside it.
func (s *screen) begin(steps int, figures func() string) *progress {
	p := &progress{screen: s, max: steps, figures: figures, stop: make(chan struct{}), began: time.Now()}
	if !s.terminal {
		return p
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bar = progressbar.NewOptions(steps, progressbar.OptionSetWriter(s.out), progressbar.OptionSetWidth(24),
		progressbar.OptionShowCount(), progressbar.OptionSetElapsedTime(false), progressbar.OptionSetPredictTime(false),
		progressbar.OptionClearOnFinish(), progressbar.OptionSetRenderBlankState(true))
	p.ticks.Go(func() {
		ticker := time.NewTicker(refresh)
		defer ticker.Stop()
		for {
			select {
			case <-p.stop:
				return
			case <-ticker.C:
				s.mu.Lock()
				s.bar.Describe(fmt.Sprintf("   %s · %s", p.doing, figures()))
				s.mu.Unlock()
			}
		}
	})
	return p
}

// step says what is done next.
func (p *progress) step(format string, args ...any) {
	p.screen.mu.Lock()
	defer p.screen.mu.Unlock()
	p.doing, p.began = fmt.Sprintf(format, args...), time.Now()
	if p.screen.bar != nil {
		p.screen.bar.Describe("   " + p.doing)
	}
}

// ok says that the step is done. Where there is no bar, it is a line.
func (p *progress) ok() {
	p.screen.mu.Lock()
	defer p.screen.mu.Unlock()
	p.done++
	if p.screen.bar != nil {
		p.screen.bar.Add(1) //nolint:errcheck // as above
		return
	}
	p.screen.print("   %*d/%d %s (%.1f s; %s)", len(fmt.Sprint(p.max)), p.done, p.max, p.doing, time.Since(p.began).Seconds(), p.figures())
}

// end takes the bar away.
func (p *progress) end() {
	close(p.stop)
	p.ticks.Wait()
	p.screen.mu.Lock()
	defer p.screen.mu.Unlock()
	if p.screen.bar != nil {
		p.screen.bar.Clear() //nolint:errcheck // as above
		p.screen.bar = nil
	}
}

// thousands writes 12345 as 12,345.
func thousands[N int | int64](n N) string {
	text := fmt.Sprint(n)
	var b strings.Builder
	for i, digit := range text {
		if rest := len(text) - i; i > 0 && rest%3 == 0 && text[i-1] != '-' {
			b.WriteByte(',')
		}
		b.WriteRune(digit)
	}
	return b.String()
}

// plural writes "1 write" and "2 writes".
func plural[N int | int64](n N, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return thousands(n) + " " + word + "s"
}
