package pool

import (
	"testing"
	"time"
)

// idle returns a host with one idle connection.
func idle(t testing.TB) *Host {
	s := newServer(t, "127.0.0.1:0", echo)
	_, p := newPoolOf(t, testSettings(), Datacenter{Upstreams: []string{s.address()}})
	h := p.Pick(nil)
	h.Release(acquire(t, h, false))
	return h
}

func TestTakingAnIdleConnectionAndPickingAllocateNothing(t *testing.T) {
	h := idle(t)
	who := &client{}
	limit := time.Now().Add(long)
	if n := testing.AllocsPerRun(200, func() {
		host := h.pool.Pick(nil)
		host.Begin()
		c, err := host.Acquire(who, limit, false)
		if err != nil {
			t.Error(err)
			return
		}
		host.Release(c)
		host.Succeeded()
		host.End()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAcquireRelease(b *testing.B) {
	h := idle(b)
	b.ReportAllocs()
	for b.Loop() {
		c, err := h.Acquire(nil, time.Time{}, false)
		if err != nil {
			b.Fatal(err)
		}
		h.Release(c)
	}
}

// BenchmarkLook is the system call that AcquireRelease makes.
func BenchmarkLook(b *testing.B) {
	h := idle(b)
	c := acquire(b, h, false)
	for b.Loop() {
		if c.Look() != 0 {
			b.Fatal("not quiet")
		}
	}
}

func BenchmarkPick(b *testing.B) {
	for name, hosts := range map[string]int{"1": 1, "2": 2, "10": 10, "200": 200} {
		w := newWorld(b, hosts, nil)
		w.rig.clock = func() int64 { return int64(time.Since(w.rig.base)) }
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w.Pick(nil).Begin()
			}
		})
	}
}

func BenchmarkPickWithMostHostsDown(b *testing.B) {
	w := newWorld(b, 200, nil)
	w.rig.clock = func() int64 { return int64(time.Since(w.rig.base)) }
	for _, h := range w.Hosts()[10:] {
		h.checked(false, nil)
	}
	for b.Loop() {
		w.Pick(nil)
	}
}

// BenchmarkQueue has eight requests at a host with two connections.
func BenchmarkQueue(b *testing.B) {
	settings := testSettings()
	settings.ConnectionsMax = 2
	s := newServer(b, "127.0.0.1:0", echo)
	_, p := newPoolOf(b, settings, Datacenter{Upstreams: []string{s.address()}})
	h := p.Pick(nil)
	b.ReportAllocs()
	b.SetParallelism(4)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c, err := h.Acquire(nil, time.Time{}, false)
			if err != nil {
				b.Error(err)
				return
			}
			h.Release(c)
		}
	})
}
