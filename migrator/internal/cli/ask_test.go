package cli

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
)

func TestAQuestionIsAnsweredOrInterrupted(t *testing.T) {
	for in, want := range map[string]string{"alpha\n": "alpha", " alpha \nbeta\n": "alpha", "alpha": "alpha", "": "", "\n": ""} {
		if got, err := typed(t.Context(), strings.NewReader(in)); got != want || err != nil {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
	// A file in which nothing comes, as a terminal at which nobody types.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = errors.Join(r.Close(), w.Close()) }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := typed(ctx, r); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %q, %v", got, err)
	}
	if _, err := w.WriteString("gamma\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := typed(t.Context(), r); got != "gamma" || err != nil {
		t.Errorf("%q, %v; want gamma", got, err)
	}
}
