package script

import (
	"fmt"
	"strings"
	"time"

	"drover/tools/conformance/internal/wire"
)

const (
	lingerWait = 100 * time.Millisecond // for what should not come
	originWait = 30 * time.Millisecond  // for what should not come to the origin
	closeWait  = 3 * time.Second        // for the end of a connection that was announced
	settleWait = time.Second            // for a proxy to give up what is under way
	partMax    = time.Second            // for the proxy's kernel to see the end of a connection
	clientsMax = 12                     // of one case
)

// stage is one case under way.
type stage struct {
	proxy   string
	board   *board
	scene   *scene
	clients [clientsMax]*client
}

// Result is what both sides saw.
type Result struct {
	Clients  []Seen
	Requests []Received // at the origin, by the time of their heads
	// Partial is what the origin has of heads that are not whole.
	Partial string
	// Conns is how many connections came to the origin.
	Conns int
	// Step is the error of a step, or nil.
	Step error
	// Unsettled says that the proxy still had a request under way when the case
	// was over, or may have had: it could send it into the next case.
	Unsettled bool
}

// Run plays a case against the proxy at an address, which has the origin
// behind it. Narrow judges by the case's Drover check, if it has one.
func Run(c *Case, proxy string, origin *Origin, narrow bool) (*Result, error) {
	board := newBoard()
	s := &stage{proxy: proxy, board: board, scene: &scene{board: board, replies: c.Replies}}
	origin.play(s.scene)
	defer s.scene.close()
	steps := c.Steps
	if len(steps) == 0 {
		steps = []Step{Send(c.Send)}
	}
	result := &Result{}
	for i, step := range steps {
		if err := step.do(s); err != nil {
			result.Step = fmt.Errorf("step %d: %w", i+1, err)
			break
		}
	}
	s.finish(c, result)
	result.Unsettled = !s.close()
	if err := origin.drain(); err != nil {
		return result, err
	}
	want := c.Want
	if narrow && c.Drover != nil {
		want = c.Drover
	}
	return result, judge(c, want, result)
}

// client returns a client, connected.
func (s *stage) client(i int) (*client, error) {
	if s.clients[i] == nil {
		c, err := dial(s.board, s.proxy)
		if err != nil {
			return nil, err
		}
		s.board.update(func() { s.clients[i] = c })
	}
	return s.clients[i], nil
}

// last returns the connection of the origin's last request, or nil.
func (s *stage) last() *originConn {
	n := len(s.scene.requests)
	if n == 0 {
		return nil
	}
	return s.scene.conns[s.scene.requests[n-1].Conn]
}

// finish waits for the answers, and a moment longer.
func (s *stage) finish(c *Case, result *Result) {
	answers := max(c.Answers, 1)
	if c.Answers == Nothing || result.Step != nil {
		answers = 0
	}
	for _, client := range s.clients {
		if client == nil {
			continue
		}
		s.board.wait(awaitMax, func() bool { return client.ended || client.whole() >= answers })
		longest := lingerWait
		s.board.look(func() {
			if client.announcesClose() {
				longest = closeWait
			}
		})
		s.board.wait(longest, func() bool { return client.ended })
	}
	s.board.wait(originWait, func() bool { return false })
	s.board.look(func() {
		for _, client := range s.clients {
			if client != nil {
				result.Clients = append(result.Clients, client.seen())
			}
		}
		for _, r := range s.scene.requests {
			result.Requests = append(result.Requests, *r)
		}
		result.Conns = len(s.scene.conns)
		for _, c := range s.scene.conns {
			if c.request == nil {
				result.Partial += string(c.bytes[c.read:])
			}
		}
	})
}

// announcesClose says whether the last answer lets expect the connection's end.
func (c *client) announcesClose() bool {
	seen := c.seen()
	if len(seen.Finals) == 0 {
		return false
	}
	last := seen.Finals[len(seen.Finals)-1]
	switch last.Status() {
	case 400, 408, 413, 414, 417, 431, 501, 505:
		return true
	default:
		return last.HasToken("Connection", "close")
	}
}

// close ends everything, and says whether nothing was under way any more.
func (s *stage) close() bool {
	for _, client := range s.clients {
		if client != nil {
			client.close()
		}
	}
	settled := s.board.wait(settleWait, s.scene.idle)
	s.board.look(func() {
		for _, client := range s.clients {
			settled = settled && (client == nil || client.answered())
		}
	})
	return settled
}

// judge applies the check, and what holds for every case.
func judge(c *Case, want Check, r *Result) error {
	if r.Step != nil {
		return r.Step
	}
	for i, request := range r.Requests {
		if len(request.Flaws) != 0 {
			return fmt.Errorf("request %d at the origin is ambiguous: %s", i, strings.Join(request.Flaws, "; "))
		}
	}
	for i, seen := range r.Clients {
		if c.Stray {
			break
		}
		for j, final := range seen.Finals {
			if len(final.Flaws) != 0 {
				return fmt.Errorf("answer %d at client %d is ambiguous: %s", j, i, strings.Join(final.Flaws, "; "))
			}
		}
		if seen.Tail != "" {
			return fmt.Errorf("client %d got bytes that are no answer: %.80q", i, seen.Tail)
		}
	}
	return want(r)
}

// printInterim shows the first few.
func printInterim(b *strings.Builder, what string, messages []*wire.Message) {
	const few = 4
	for _, m := range messages[:min(few, len(messages))] {
		fmt.Fprintf(b, "  %s %.100q\n", what, m.Raw)
	}
	if more := len(messages) - few; more > 0 {
		fmt.Fprintf(b, "  and %d more\n", more)
	}
}

// String shows what both sides saw, shortened.
func (r *Result) String() string {
	var b strings.Builder
	for i, seen := range r.Clients {
		fmt.Fprintf(&b, "client %d: closed %v, reset %v\n", i, seen.Closed, seen.Reset)
		printInterim(&b, "pending", seen.Pending)
		for _, f := range seen.Finals {
			printInterim(&b, "interim", f.Interim)
			fmt.Fprintf(&b, "  answer %.600q\n    whole %v, %s, body %.100q\n", f.Raw, f.Whole, f.Framing, f.Body)
		}
		if seen.Tail != "" {
			fmt.Fprintf(&b, "  tail %.100q\n", seen.Tail)
		}
	}
	for i, request := range r.Requests {
		fmt.Fprintf(&b, "origin %d, connection %d: %.600q\n    whole %v, %s, body %.100q, trailers %q, flaws %q\n", i, request.Conn,
			request.Raw, request.Whole, request.Framing, request.Body, request.Trailers, request.Flaws)
	}
	if r.Partial != "" {
		fmt.Fprintf(&b, "origin, no whole head: %.100q\n", r.Partial)
	}
	return b.String()
}
