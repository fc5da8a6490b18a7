package script

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Check judges a result: nil is what was wanted.
type Check func(*Result) error

// All wants every check.
func All(checks ...Check) Check {
	return func(r *Result) error {
		for _, check := range checks {
			if err := check(r); err != nil {
				return err
			}
		}
		return nil
	}
}

// Any wants one of the checks: where the RFC leaves a choice.
func Any(checks ...Check) Check {
	return func(r *Result) error {
		var failures []error
		for _, check := range checks {
			err := check(r)
			if err == nil {
				return nil
			}
			failures = append(failures, err)
		}
		return fmt.Errorf("none of the allowed: %w", errors.Join(failures...))
	}
}

// Refused wants one answer with one of these statuses (none: 400), no whole
// request at the origin, and the connection closed.
func Refused(statuses ...int) Check {
	if len(statuses) == 0 {
		statuses = []int{400}
	}
	return All(Answers(1), Status(0, statuses...), Requests(0), Closed())
}

// Passed wants one answer, 200, and one whole request at the origin.
func Passed(more ...Check) Check {
	return All(Answers(1), Status(0, 200), Whole(0), Requests(1), All(more...))
}

// Dropped wants the connection closed without an answer and without a request
// at the origin.
func Dropped() Check { return All(Answers(0), Closed(), Requests(0)) }

// On applies a check to a client other than the first.
func On(client int, check Check) Check {
	return func(r *Result) error {
		if len(r.Clients) <= client {
			return fmt.Errorf("no client %d", client)
		}
		other := *r
		other.Clients = r.Clients[client:]
		if err := check(&other); err != nil {
			return fmt.Errorf("client %d: %w", client, err)
		}
		return nil
	}
}

// Answers wants so many final answers.
func Answers(n int) Check {
	return func(r *Result) error {
		if got := len(r.Clients[0].Finals); got != n {
			return fmt.Errorf("got %d answers, want %d", got, n)
		}
		return nil
	}
}

// answer applies a function to the i-th answer.
func answer(i int, judge func(Final) error) Check {
	return func(r *Result) error {
		finals := r.Clients[0].Finals
		if len(finals) <= i {
			return fmt.Errorf("got %d answers, want answer %d", len(finals), i)
		}
		if err := judge(finals[i]); err != nil {
			return fmt.Errorf("answer %d: %w", i, err)
		}
		return nil
	}
}

// Status wants one of the statuses.
func Status(i int, statuses ...int) Check {
	return answer(i, func(f Final) error {
		if !slices.Contains(statuses, f.Status()) {
			return fmt.Errorf("got status %d, want one of %v", f.Status(), statuses)
		}
		return nil
	})
}

// Body wants the answer whole with exactly this body.
func Body(i int, body string) Check {
	return answer(i, func(f Final) error {
		if f.Body != body || !f.Whole {
			return fmt.Errorf("got the body %.60q (%d bytes), whole %v, want %.60q (%d bytes)", f.Body, len(f.Body), f.Whole, body, len(body))
		}
		return nil
	})
}

// Whole wants the answer to be whole.
func Whole(i int) Check {
	return answer(i, func(f Final) error {
		if !f.Whole {
			return errors.New("it is cut off")
		}
		return nil
	})
}

// Cut wants the answer to be seen as cut off.
func Cut(i int) Check {
	return answer(i, func(f Final) error {
		if f.Whole {
			return fmt.Errorf("it looks whole (%s, %d bytes), want it cut off", f.Framing, len(f.Body))
		}
		return nil
	})
}

// Field wants a field line with this value, the name in any spelling.
func Field(i int, name, value string) Check {
	return answer(i, func(f Final) error {
		if !slices.Contains(f.Values(name), value) {
			return fmt.Errorf("got %s %q, want %q", name, f.Values(name), value)
		}
		return nil
	})
}

// Line wants an answer's first line or field line, byte for byte.
func Line(i int, line string) Check {
	return answer(i, func(f Final) error {
		if !slices.Contains(strings.Split(f.Raw, "\r\n"), line) {
			return fmt.Errorf("no line %q in %q", line, f.Raw)
		}
		return nil
	})
}

// NoField wants no field of these names.
func NoField(i int, names ...string) Check {
	return answer(i, func(f Final) error {
		for _, name := range names {
			if f.Has(name) {
				return fmt.Errorf("got %s %q, want none", name, f.Values(name))
			}
		}
		return nil
	})
}

// Interim wants these 1xx answers before the answer, in this order.
func Interim(i int, statuses ...int) Check {
	return answer(i, func(f Final) error {
		var got []int
		for _, m := range f.Interim {
			got = append(got, m.Status())
		}
		if !slices.Equal(got, statuses) {
			return fmt.Errorf("got the interim answers %v, want %v", got, statuses)
		}
		return nil
	})
}

// InterimField wants a field in one of the 1xx answers before the answer.
func InterimField(i int, name, value string) Check {
	return answer(i, func(f Final) error {
		for _, m := range f.Interim {
			if slices.Contains(m.Values(name), value) {
				return nil
			}
		}
		return fmt.Errorf("no interim answer with %s %q", name, value)
	})
}

// Trailer wants a trailer of the answer.
func Trailer(i int, name, value string) Check {
	return answer(i, func(f Final) error {
		for _, t := range f.Trailers {
			if strings.EqualFold(t.Name, name) && t.Value == value {
				return nil
			}
		}
		return fmt.Errorf("got the trailers %q, want %s: %s", f.Trailers, name, value)
	})
}

// Closed wants the connection ended by the proxy.
func Closed() Check {
	return func(r *Result) error {
		if !r.Clients[0].Closed {
			return errors.New("the connection is kept, want it closed")
		}
		return nil
	}
}

// Kept wants the connection open.
func Kept() Check {
	return func(r *Result) error {
		if r.Clients[0].Closed {
			return errors.New("the connection is closed, want it kept")
		}
		return nil
	}
}
