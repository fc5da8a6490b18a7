package yard

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"drover/bench/edge/internal/scene"
	"drover/bench/internal/proc"
)

// drainMax bounds the wait for the last answers of a load.
const drainMax = 10 * time.Second

var errUnanswered = errors.New("no answer came within 10 s of the end of the load")

// load runs one Command with OpLoad.
type load struct {
	count
	loop     *loop
	command  Command
	users    []scene.User
	random   *rand.Rand
	clients  []*client
	idle     []*client // a ring: all connections take turns
	first    int       // of the ring
	idles    int
	interval int64 // between two requests; 0: as many as go
	next     int64 // when the next request is due
	begin    int64 // of the measured time
	end      int64
	sending  bool
	before   reading
}

// reading is CPU times at one edge of the measured time.
type reading struct {
	at      int64
	peer    proc.CPU
	yard    proc.CPU
	machine time.Duration
}

func newLoad(l *loop, command Command, users []scene.User) *load {
	d := &load{
		count: newCount(), loop: l, command: command, users: users, sending: true,
		random: rand.New(rand.NewPCG(command.Seed, 1)), idle: make([]*client, command.Connections),
	}
	if command.Rate > 0 {
		d.interval = int64(time.Second) / int64(command.Rate)
	}
	return d
}

func (d *load) run() (Result, error) {
	defer func() {
		for _, c := range d.clients {
			c.close()
		}
	}()
	checker := scene.NewChecker()
	for range d.command.Connections {
		c, err := newClient(d.loop, d, checker, d.command.Target)
		if err != nil {
			return Result{}, err
		}
		d.clients = append(d.clients, c)
		d.rest(c)
	}
	start := d.loop.now()
	d.begin = start + int64(d.command.Ramp)
	d.end = d.begin + int64(d.command.Last)
	d.next = start
	if err := d.until(d.begin); err != nil {
		return Result{}, err
	}
	var err error
	if d.before, err = d.read(); err != nil {
		return Result{}, err
	}
	d.begin = d.before.at
	if err := d.until(d.end); err != nil {
		return Result{}, err
	}
	if err := d.measured(); err != nil {
		return Result{}, err
	}
	return d.drain()
}

// until turns the loop until a time, sending what is due.
func (d *load) until(end int64) error {
	for {
		now := d.loop.now()
		if now >= end {
			return nil
		}
		wait := end - now
		if d.interval == 0 {
			for range d.idles { // each once: one that fails comes back
				d.take().send(d.user(), d.loop.now())
			}
		} else {
			for n := d.idles; n > 0 && d.next <= now; n-- {
				d.take().send(d.user(), d.next)
				d.next += d.interval
			}
			if d.idles > 0 { // else an answer comes first
				wait = min(wait, max(d.next-d.loop.now(), 0))
			}
		}
		if d.broken() {
			return fmt.Errorf("the peer at %s takes no connections any more: did it end?", d.command.Target)
		}
		if err := d.loop.turn(time.Duration(wait)); err != nil {
			return err
		}
	}
}

// broken says whether every connection is lost.
func (d *load) broken() bool {
	return d.result.Errors > 0 && d.clients[0].broken && d.clients[len(d.clients)-1].broken
}

func (d *load) user() scene.User { return d.users[d.random.IntN(len(d.users))] }

func (d *load) rest(c *client) {
	d.idle[(d.first+d.idles)%len(d.idle)] = c
	d.idles++
}

func (d *load) take() *client {
	c := d.idle[d.first]
	d.first = (d.first + 1) % len(d.idle)
	d.idles--
	return c
}

func (d *load) answered(c *client) {
	now := d.loop.now()
	if now >= d.begin && now < d.end {
		d.answer(time.Duration(now - c.sent))
	}
	if d.sending && d.interval == 0 {
		c.send(d.user(), now)
		return
	}
	d.rest(c)
}

func (d *load) failed(c *client, err error) {
	d.fail(err)
	if !c.broken {
		d.rest(c) // not sent at once: a peer that fails all would fill the stack
	}
}

func (d *load) unasked(err error) { d.fail(err) }

// read takes the CPU times of now.
func (d *load) read() (reading, error) {
	peer, err := proc.CPUOf(d.command.Pids)
	yard, err2 := proc.CPUOf([]int{os.Getpid()})
	machine, err3 := proc.MachineBusy()
	return reading{at: d.loop.now(), peer: peer, yard: yard, machine: machine}, errors.Join(err, err2, err3)
}

func (d *load) measured() error {
	after, err := d.read()
	if err != nil {
		return err
	}
	d.end, d.sending = after.at, false
	d.result.Elapsed = time.Duration(after.at - d.before.at)
	d.result.CPU, d.result.Yard = after.peer.Sub(d.before.peer), after.yard.Sub(d.before.yard)
	d.result.Others = max(after.machine-d.before.machine-d.result.CPU.Total-d.result.Yard.Total, 0)
	return nil
}

// drain waits for the answers to what was sent. None may be missing.
func (d *load) drain() (Result, error) {
	for limit := d.end + int64(drainMax); ; {
		busy := 0
		for _, c := range d.clients {
			if c.busy {
				busy++
			}
		}
		if busy == 0 {
			return d.done(), nil
		}
		if d.loop.now() >= limit {
			for range busy {
				d.fail(errUnanswered)
			}
			return d.done(), nil
		}
		if err := d.loop.turn(10 * time.Millisecond); err != nil {
			return Result{}, err
		}
	}
}
