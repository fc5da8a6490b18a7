package shardlib

import (
	"context"
	"fmt"
	"testing"
	"time"

	"drover/bucketmap"
)

func BenchmarkUpdate(b *testing.B) {
	w := newWorld(b)
	l := w.open("legacy")
	i := 0
	for b.Loop() {
		i++
		user := bucketmap.UserID(fmt.Sprint(i % 1000))
		if err := l.Update(b.Context(), user, add(user)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkView(b *testing.B) {
	w := newWorld(b)
	l := w.open("legacy")
	var n int64
	for b.Loop() {
		if err := l.View(b.Context(), alice, read(alice, &n)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCachedHit(b *testing.B) {
	w := newWorld(b)
	l := w.open("legacy")
	load := func(context.Context, *Tx) ([]byte, error) { return make([]byte, 200), nil }
	for b.Loop() {
		if _, err := l.Cached(b.Context(), alice, "k", time.Minute, load); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHome(b *testing.B) {
	w := newWorld(b)
	l := w.open("legacy")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.Home(alice); err != nil {
			b.Fatal(err)
		}
	}
}
