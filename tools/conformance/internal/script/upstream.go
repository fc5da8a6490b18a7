package script

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Requests wants so many whole requests at the origin.
func Requests(n int) Check { return RequestsBetween(n, n) }

// RequestsBetween wants between low and high whole requests at the origin.
func RequestsBetween(low, high int) Check {
	return func(r *Result) error {
		whole := 0
		for _, request := range r.Requests {
			if request.Whole {
				whole++
			}
		}
		if whole < low || whole > high {
			return fmt.Errorf("the origin got %d whole requests, want %d to %d", whole, low, high)
		}
		return nil
	}
}

// Heads wants no more than so many request heads at the origin, whole
// requests or not.
func Heads(most int) Check {
	return func(r *Result) error {
		if len(r.Requests) > most {
			return fmt.Errorf("the origin got %d heads, want %d at most", len(r.Requests), most)
		}
		return nil
	}
}

// request applies a function to the i-th request at the origin.
func request(i int, judge func(Received) error) Check {
	return func(r *Result) error {
		if len(r.Requests) <= i {
			return fmt.Errorf("the origin got %d requests, want request %d", len(r.Requests), i)
		}
		if err := judge(r.Requests[i]); err != nil {
			return fmt.Errorf("request %d at the origin: %w", i, err)
		}
		return nil
	}
}

// Got wants a request line or field line at the origin, byte for byte.
func Got(i int, lines ...string) Check {
	return request(i, func(r Received) error {
		for _, line := range lines {
			if !slices.Contains(strings.Split(r.Raw, "\r\n"), line) {
				return fmt.Errorf("no line %q in %q", line, r.Raw)
			}
		}
		return nil
	})
}

// GotOrder wants these field lines in this order, byte for byte. Others may be
// between them.
func GotOrder(i int, lines ...string) Check {
	return request(i, func(r Received) error {
		rest := lines
		for line := range strings.SplitSeq(r.Raw, "\r\n") {
			if len(rest) != 0 && line == rest[0] {
				rest = rest[1:]
			}
		}
		if len(rest) != 0 {
			return fmt.Errorf("no line %q where it belongs in %q", rest[0], r.Raw)
		}
		return nil
	})
}

// GotOrderFold is GotOrder with the names in any spelling.
func GotOrderFold(i int, lines ...string) Check {
	return request(i, func(r Received) error {
		rest := lines
		for _, f := range r.Fields {
			if len(rest) == 0 {
				break
			}
			if name, value, _ := strings.Cut(rest[0], ": "); strings.EqualFold(f.Name, name) && f.Value == value {
				rest = rest[1:]
			}
		}
		if len(rest) != 0 {
			return fmt.Errorf("no line %q where it belongs in %q", rest[0], r.Raw)
		}
		return nil
	})
}

// GotValue wants a field with this value, the name in any spelling.
func GotValue(i int, name, value string) Check {
	return request(i, func(r Received) error {
		if got := r.Values(name); !slices.Contains(got, value) {
			return fmt.Errorf("%s is %q, want %q", name, got, value)
		}
		return nil
	})
}

// GotOnly wants exactly one field of the name, with this value.
func GotOnly(i int, name, value string) Check {
	return request(i, func(r Received) error {
		if got := r.Values(name); len(got) != 1 || got[0] != value {
			return fmt.Errorf("%s is %q, want %q once", name, got, value)
		}
		return nil
	})
}

// GotAll wants the values of all fields of the name, joined with a comma and a
// blank.
func GotAll(i int, name, joined string) Check {
	return request(i, func(r Received) error {
		if got := strings.Join(r.Values(name), ", "); got != joined {
			return fmt.Errorf("%s is %q, want %q", name, got, joined)
		}
		return nil
	})
}

// GotNo wants no fields of these names.
func GotNo(i int, names ...string) Check {
	return request(i, func(r Received) error {
		for _, name := range names {
			if r.Has(name) {
				return fmt.Errorf("%s is %q, want none", name, r.Values(name))
			}
		}
		return nil
	})
}

// GotBody wants the request whole with exactly this body.
func GotBody(i int, body string) Check {
	return request(i, func(r Received) error {
		if r.Body != body || !r.Whole {
			return fmt.Errorf("the body is %.60q (%d bytes), whole %v, want %.60q (%d bytes)", r.Body, len(r.Body), r.Whole, body, len(body))
		}
		return nil
	})
}

// GotCut wants the request to be seen as cut off.
func GotCut(i int) Check {
	return request(i, func(r Received) error {
		if r.Whole {
			return errors.New("it looks whole, want it cut off")
		}
		return nil
	})
}

// GotTrailer wants a trailer of the request.
func GotTrailer(i int, name, value string) Check {
	return request(i, func(r Received) error {
		for _, t := range r.Trailers {
			if strings.EqualFold(t.Name, name) && t.Value == value {
				return nil
			}
		}
		return fmt.Errorf("the trailers are %q, want %s: %s", r.Trailers, name, value)
	})
}

// GotNoTrailer wants no trailer of this name.
func GotNoTrailer(i int, name string) Check {
	return request(i, func(r Received) error {
		for _, t := range r.Trailers {
			if strings.EqualFold(t.Name, name) {
				return fmt.Errorf("the trailer %q, want none", t.Raw)
			}
		}
		return nil
	})
}
