package config

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// Problem is one thing wrong with a configuration: the key, what it holds and
// what it may hold.
type Problem struct {
	Key, Value, Bound string
}

func (p Problem) String() string { return fmt.Sprintf("%s: %s: want %s", p.Key, p.Value, p.Bound) }

// Problems collects everything that is wrong with a configuration. The zero
// value is ready.
type Problems struct {
	List []Problem
}

// Add adds a problem. value is printed quoted when it is a string.
func (p *Problems) Add(key string, value any, bound string) {
	text := fmt.Sprint(value)
	if s, ok := value.(string); ok {
		text = strconv.Quote(s)
	}
	p.List = append(p.List, Problem{Key: key, Value: text, Bound: bound})
}

// Want adds a problem unless ok.
func (p *Problems) Want(ok bool, key string, value any, bound string) {
	if !ok {
		p.Add(key, value, bound)
	}
}

// Between adds a problem unless min ≤ value ≤ max.
func (p *Problems) Between(key string, value, min, max int64) {
	p.Want(min <= value && value <= max, key, value, fmt.Sprintf("%d to %d", min, max))
}

// Sized adds a problem unless min ≤ value ≤ max.
func (p *Problems) Sized(key string, value, min, max Bytes) {
	p.Want(min <= value && value <= max, key, value, fmt.Sprintf("%s to %s", min, max))
}

// Lasting adds a problem unless min ≤ value ≤ max.
func (p *Problems) Lasting(key string, value, min, max time.Duration) {
	p.Want(min <= value && value <= max, key, value, fmt.Sprintf("%s to %s", min, max))
}

// Address adds a problem unless value is host:port with a port of 0 to 65535;
// the host may be empty.
func (p *Problems) Address(key, value string) {
	_, port, err := net.SplitHostPort(value)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	p.Want(err == nil, key, value, "host:port")
}

// Err returns nil when there is no problem, else an *InvalidError.
func (p *Problems) Err() error {
	if len(p.List) == 0 {
		return nil
	}
	return &InvalidError{Problems: p.List}
}

// InvalidError lists everything that is wrong with a configuration.
type InvalidError struct {
	Problems []Problem
}

func (e *InvalidError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "invalid configuration, %d problem(s)", len(e.Problems))
	for _, p := range e.Problems {
		b.WriteString("\n  ")
		b.WriteString(p.String())
	}
	return b.String()
}
