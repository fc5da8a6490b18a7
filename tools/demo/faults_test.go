package main

import (
	"slices"
	"strings"
	"testing"
)

// shortFaults are two cases in a few seconds, with a load that other tests beside
// it leave room for. A window of 2 s has 160 requests, of which a quarter is the
// wave's; of those every third goes wrong.
func shortFaults(t *testing.T) faultsOptions {
	t.Helper()
	o := defaultFaults()
	whole := short(t)
	o.bin, o.work = whole.bin, whole.work
	o.users, o.rate, o.buckets = 500, 80, 64
	o.wave, o.reserve, o.lived, o.hidden = 0.25, 0.3, false, false
	o.every, o.scale, o.minEvents, o.looks = 3, 0.0067, 10, 4
	o.only = []int{3, 8}
	return o
}

func TestAFaultOfJustMovedUsersSendsThemHomeAndNaNHolds(t *testing.T) {
	o, out := shortFaults(t), newOutput(t)
	if err := runFaults(t.Context(), o, newScreen(out, false)); err != nil {
		t.Error(err)
		logMigrators(t, o.work)
	}
	for _, want := range []string{"GREEN", "home after", "NaN, which is no count", "0 lost, 0 writes applied twice"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output lacks %q", want)
		}
	}
	wantNothingRunning(t, o.work)
}

func TestOptionsOfFaultsAreChecked(t *testing.T) {
	for name, change := range map[string]func(*faultsOptions){
		"users": func(o *faultsOptions) { o.users = 10 },
		"rate":  func(o *faultsOptions) { o.rate = 0 },
		"only":  func(o *faultsOptions) { o.only = []int{3, 12} },
	} {
		o := defaultFaults()
		if err := o.validate(); err != nil {
			t.Fatal(err)
		}
		change(&o)
		if err := o.validate(); err == nil || !strings.Contains(err.Error(), "--"+name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestActivityOfAllUsersIsOneAndTheFirstAreTheBusiest(t *testing.T) {
	const count = 1000
	var all []float64
	sum := 0.0
	for i := 1; i <= count; i++ {
		all = append(all, activity(i, count))
		sum += all[i-1]
	}
	if sum < 0.999999 || sum > 1.000001 || !slices.IsSortedFunc(all, func(a, b float64) int {
		switch {
		case a > b:
			return -1
		case a < b:
			return 1
		}
		return 0
	}) {
		t.Errorf("the sum is %v, and the first are %v", sum, all[:3])
	}
}
