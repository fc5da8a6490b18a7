package suite

import (
	"errors"
	"strings"
	"testing"

	"drover/tools/conformance/internal/peer"
	"drover/tools/conformance/internal/script"
)

func TestAScoreCountsByGroup(t *testing.T) {
	a, b := &script.Case{Group: "a"}, &script.Case{Group: "b"}
	score := NewScore([]Outcome{{Case: a}, {Case: a, Err: errors.New("x")}, {Case: b}})
	for group, want := range map[string]Count{"a": {1, 2}, "b": {1, 1}, Total: {2, 3}} {
		if score[group] != want {
			t.Errorf("%s: %+v, want %+v", group, score[group], want)
		}
	}
	var out strings.Builder
	if err := PrintScores(&out, []string{"a", "b", "c"}, []peer.Kind{peer.Drover}, map[peer.Kind]Score{peer.Drover: score}); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); !strings.Contains(text, "2 of 3 total") || strings.Contains(text, " c\n") {
		t.Errorf("printed:\n%s", text)
	}
}
