package database

import "testing"

const (
	uuidA = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
	uuidB = "4350f323-7565-4e59-8763-4b1b83a0ce0e"
)

func transactions(t *testing.T, text string) Transactions {
	t.Helper()
	parsed, err := ParseTransactions(text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestTransactionsAreComparedAsTheServersDo(t *testing.T) {
	for _, c := range []struct {
		have, want string
		lag        uint64
	}{
		{"", "", 0},
		{"0-1-10", "", 0},
		{"", "0-1-10", 10},
		{"0-1-10,5-2-7", "0-9-9", 0},
		{"0-1-10", "0-1-12,5-2-7", 9},
		{uuidA + ":1-5", "", 0},
		{"", uuidA + ":1-5", 5},
		{uuidA + ":1-5", uuidA + ":2-3", 0},
		{uuidA + ":1-5", uuidA + ":1-6", 1},
		{uuidA + ":1-5:7-9", uuidA + ":1-9", 1}, // a gap
		{uuidA + ":2-3:5", uuidA + ":1-9", 6},
		{uuidA + ":1-5", uuidA + ":1-5,\n" + uuidB + ":1", 1},
		{uuidA + ":1-5", uuidB + ":1-5", 5}, // another's
		{uuidA + ":1-5", uuidA + ":1-5:nightly:1-2", 2},
		{uuidA + ":nightly:1-5", uuidA + ":1-5", 5},
		{"0-1-10", uuidA + ":1-5", 5}, // of the other family
		{uuidA + ":1-5", "0-1-10", 10},
	} {
		have, want := transactions(t, c.have), transactions(t, c.want)
		if got := have.Lag(want); got != c.lag || have.Reached(want) != (c.lag == 0) {
			t.Errorf("%q lags behind %q by %d, reached %t; want %d", c.have, c.want, got, have.Reached(want), c.lag)
		}
		if both := have.With(want); !both.Reached(want) || !both.Reached(have) {
			t.Errorf("%q with %q is %q", c.have, c.want, both)
		}
		if again := transactions(t, have.String()); !again.Reached(have) || !have.Reached(again) {
			t.Errorf("%q is written as %q", c.have, have)
		}
	}
	for _, bad := range []string{uuidA + ":", uuidA + ":x-y", "1:2", uuidA + ":5-1", uuidA + ":1-5;", "0-1", uuidA + ":nightly"} {
		if got, err := ParseTransactions(bad); err == nil {
			t.Errorf("%q is read as %q", bad, got)
		}
	}
}

func TestWhatIsErrantIsCounted(t *testing.T) {
	if n := (Errant{set: transactions(t, uuidA+":6-7")}).Count(Transactions{}); n != 2 {
		t.Errorf("MySQL: %d", n)
	}
	e := Errant{ids: []GTID{{0, 1, 13}}, primary: History{{0, 1}: 10}}
	if n := e.Count(transactions(t, "0-1-11")); n != 2 || e.None() || e.String() != "[0-1-13]" {
		t.Errorf("MariaDB: %d of %s", n, e)
	}
	if !(Errant{}).None() {
		t.Error("nothing is something")
	}
}
