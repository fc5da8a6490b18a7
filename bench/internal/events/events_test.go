package events

import (
	"testing"
	"time"
)

const told = `a warning that is no event
{"level":"warn","message":"the replica is late"}
{"move":"m-1","state":"copying","at":"2026-01-01T00:00:01Z","entered":true}
{"move":"m-1","state":"copying","at":"2026-01-01T00:00:02Z","rows":100,"entered":false}
{"move":"m-1","state":"tailing","at":"2026-01-01T00:00:03Z","entered":true,"note":"2 tables"}

{"move":"m-1","state":"verifying","at":"2026-01-01T00:00:03.5Z","entered":true}
{"move":"m-1","state":"tailing","at":"2026-01-01T00:00:04Z","entered":true}
{"move":"m-1","state":"verif`

func TestOnlyTheLinesThatAreEventsAreTaken(t *testing.T) {
	all := Parse([]byte(told))
	if len(all) != 5 {
		t.Fatalf("%d events, want 5: %+v", len(all), all)
	}
	want := Event{Move: "m-1", State: "tailing", At: time.Date(2026, 1, 1, 0, 0, 3, 0, time.UTC), Note: "2 tables", Entered: true}
	if all[2] != want {
		t.Errorf("got %+v, want %+v", all[2], want)
	}
	if none := Parse(nil); none != nil {
		t.Errorf("got %+v of nothing", none)
	}
}

func TestTheTimeBetweenTwoStatesIsThatOfTheEventsThatEnterThem(t *testing.T) {
	all := Parse([]byte(told))
	for _, c := range []struct {
		from, to string
		want     time.Duration
		known    bool
	}{
		{"copying", "verifying", 2500 * time.Millisecond, true},
		{"tailing", "verifying", 500 * time.Millisecond, true},
		{"verifying", "tailing", 500 * time.Millisecond, true},
		{"tailing", "copying", 0, false},
		{"frozen", "copying", 0, false},
	} {
		got, err := Between(all, c.from, c.to)
		if got != c.want || (err == nil) != c.known {
			t.Errorf("from %s to %s: %s, %v", c.from, c.to, got, err)
		}
	}
}
