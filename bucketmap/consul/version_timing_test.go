package consul

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"syscall"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/storetest"
)

// ahead is how many versions are published before they are replayed.
const ahead = 100

// replayer publishes versions aside, and then puts their pointers where the edge
// looks, by a bare connection: of the CPU time nearly all is the edge's.
type replayer struct {
	publisher *Store // on another prefix
	now       *bucketmap.Snapshot
	values    [][]byte // the next pointers

	conn   net.Conn
	reader *bufio.Reader
	key    string
}

func newReplayer(b *testing.B, edge *Store) *replayer {
	b.Helper()
	r := &replayer{publisher: open(b, options()), now: publish(b, edge, storetest.First(b)), key: edge.pointerKey()}
	publish(b, r.publisher, r.now)
	var err error
	r.conn, err = net.Dial("tcp", edge.options.Address)
	must(b, err)
	b.Cleanup(func() { must(b, r.conn.Close()) })
	r.reader = bufio.NewReader(r.conn)
	return r
}

// fill sees to it that there is a version to put.
func (r *replayer) fill(b *testing.B) {
	b.Helper()
	if len(r.values) != 0 {
		return
	}
	for range ahead {
		r.now = publish(b, r.publisher, edit(b, r.now))
		r.values = append(r.values, getRaw(b, r.publisher, r.publisher.pointerKey()))
	}
	runtime.GC()
}

// put puts the next version in force.
func (r *replayer) put() error {
	value := r.values[0]
	r.values = r.values[1:]
	if _, err := fmt.Fprintf(r.conn, "PUT /v1/kv/%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", r.key, len(value), value); err != nil {
		return err
	}
	answer, err := http.ReadResponse(r.reader, nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	if answer.StatusCode != http.StatusOK {
		err = errors.Join(err, errors.New(answer.Status))
	}
	return err
}

// BenchmarkVersion is what a version costs a process that watches and
// acknowledges: CPU time and allocations, those of the map's change included.
// What is measured without an edge is the replayer's, to be subtracted.
func BenchmarkVersion(b *testing.B) {
	for _, edge := range []bool{false, true} {
		b.Run(fmt.Sprintf("edge=%v", edge), func(b *testing.B) { timeVersions(b, edge) })
	}
}

func timeVersions(b *testing.B, edge bool) {
	proxy := open(b, options())
	r := newReplayer(b, proxy)
	acked := make(chan error)
	if edge {
		go acknowledging(b, proxy, acked)
		must(b, <-acked)
	}
	var cpu time.Duration
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		r.fill(b)
		b.StartTimer()
		before := cpuTime(b)
		must(b, r.put())
		if edge {
			must(b, <-acked)
		}
		cpu += cpuTime(b) - before
	}
	b.StopTimer()
	b.ReportMetric(float64(cpu.Microseconds())/float64(b.N), "cpu-µs/op")
}

// acknowledging acknowledges each version and then says so, until the
// benchmark's end.
func acknowledging(b *testing.B, s *Store, acked chan<- error) {
	ctx := b.Context()
	var last bucketmap.Version
	err := s.Watch(ctx, func(m *bucketmap.Snapshot, err error) {
		if err == nil {
			err = s.Ack(ctx, bucketmap.Ack{Proxy: "p1", Version: m.Version(), Digest: m.Digest(), Since: time.Now()})
			if last != 0 && m.Version() != last+1 {
				err = fmt.Errorf("version %d after %d", m.Version(), last)
			}
			last = m.Version()
		}
		select {
		case acked <- err:
		case <-ctx.Done():
		}
	})
	if ctx.Err() == nil {
		acked <- err
	}
}

// cpuTime is what this process has used.
func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
