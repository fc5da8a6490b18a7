package upstream

import "testing"

func TestALastWriteThatIsUnderWayIsWaitedForAndNoOtherOne(t *testing.T) {
	for range 1000 { // so that some come to the wait before the end
		var x Exchange
		done := make(chan struct{})
		x.pump.done = done
		x.pump.last.Store(true)
		go close(done) // the application has read what is written here
		if x.Sending() {
			t.Fatal("a body that is written is said to be sent still")
		}
	}
	var x Exchange
	x.pump.done = make(chan struct{})
	if !x.Sending() {
		t.Error("a body of which more is to come is said to be sent")
	}
}
