package slo

import "time"

// ringSteps is how finely a ring divides its window: an increase is taken over a
// window that is longer by 1/64 at most.
const ringSteps = 64

// ringMax bounds a ring: the steps, one before the window, and the newest.
const ringMax = ringSteps + 2 // × 8 windows × 2 objectives × 6 groups × 16 B = 100 KB a proxy

// mark is what had been counted at a moment.
type mark struct {
	at     time.Time
	totals []counts // by the place of the key; one that came later is missing, and zero
}

// gapShare is the part of a window that nobody may have looked for, besides the
// time between two looks: a longer gap makes the window begin anew. A quarter more
// of the past in an increase says the same of it; half would dilute a fault.
const gapShare = 4

// ring keeps the marks that an increase over one window needs.
type ring struct {
	window time.Duration
	gapMax time.Duration // between two marks
	gap    time.Duration // the longer one that it began anew after; 0: there was none
	marks  []mark
}

func newRing(window, interval time.Duration) *ring {
	return &ring{window: window, gapMax: window/gapShare + interval}
}

// add keeps a mark, unless the last one is too near, and forgets what the window
// has no use for: of the marks that are not younger than it, the newest stays. After
// a gap none does: an increase over it would reach back too far, or end where the
// gap began and be known now and not a little later.
func (r *ring) add(m mark) {
	if n := len(r.marks); n != 0 {
		switch since := m.at.Sub(r.marks[n-1].at); {
		case since < r.window/ringSteps:
			return
		case since > r.gapMax:
			r.gap, r.marks = since, nil
		}
	}
	first := 0
	for first+1 < len(r.marks) && m.at.Sub(r.marks[first+1].at) >= r.window {
		first++
	}
	if len(r.marks)-first == ringMax { // cannot be: the steps are no shorter
		first++
	}
	r.marks = append(r.marks[:0], append(r.marks[first:len(r.marks):len(r.marks)], m)...)
}

// before returns the newest mark that is a window or more before at, or the
// oldest one; false if there is none.
func (r *ring) before(at time.Time) (mark, bool) {
	if len(r.marks) == 0 {
		return mark{}, false
	}
	best := r.marks[0]
	for _, m := range r.marks[1:] {
		if at.Sub(m.at) < r.window {
			break
		}
		best = m
	}
	return best, true
}
