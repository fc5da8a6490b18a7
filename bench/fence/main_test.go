package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestEveryKindIsMeasured(t *testing.T) {
	b := bench{rounds: 2, transactions: 20, workers: 2}
	var out bytes.Buffer
	if err := b.run(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"none", "library", "trigger", "both", "2 rounds of 20"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	for _, b := range []bench{{1, 1, 0, false}, {0, 1, 1, false}} {
		if err := b.run(t.Context(), &out); err == nil {
			t.Errorf("%+v was measured", b)
		}
	}
}

func TestTheMedianIsTheMiddle(t *testing.T) {
	if m := median([]float64{9, 1, 5}); m != 5 {
		t.Errorf("got %v", m)
	}
}
