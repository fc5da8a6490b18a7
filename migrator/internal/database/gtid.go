package database

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// GTID is one MariaDB global transaction id: domain-server-sequence.
type GTID struct {
	Domain, Server uint32
	Sequence       uint64
}

func (g GTID) String() string { return fmt.Sprintf("%d-%d-%d", g.Domain, g.Server, g.Sequence) }

// ParseGTID reads one id, such as 0-1-100.
func ParseGTID(s string) (GTID, error) {
	parts := strings.Split(s, "-")
	if len(parts) != 3 {
		return GTID{}, fmt.Errorf("GTID %q: want DOMAIN-SERVER-SEQUENCE", s)
	}
	domain, err1 := strconv.ParseUint(parts[0], 10, 32)
	server, err2 := strconv.ParseUint(parts[1], 10, 32)
	sequence, err3 := strconv.ParseUint(parts[2], 10, 64)
	if err := cmp.Or(err1, err2, err3); err != nil {
		return GTID{}, fmt.Errorf("GTID %q: want DOMAIN-SERVER-SEQUENCE: %w", s, err)
	}
	return GTID{uint32(domain), uint32(server), sequence}, nil
}

// Position is a place in a server's binlog: the last id of each domain. The
// zero value is the very beginning.
type Position map[uint32]GTID

// ParsePosition reads ids separated by commas, as the server's variables hold
// them. Of two ids of one domain the higher counts.
func ParsePosition(s string) (Position, error) {
	p := Position{}
	for _, part := range strings.Split(s, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		g, err := ParseGTID(part)
		if err != nil {
			return nil, err
		}
		p.Advance(g)
	}
	return p, nil
}

func (p Position) String() string {
	ids := make([]GTID, 0, len(p))
	for _, g := range p {
		ids = append(ids, g)
	}
	slices.SortFunc(ids, func(a, b GTID) int { return cmp.Compare(a.Domain, b.Domain) })
	words := make([]string, len(ids))
	for i, g := range ids {
		words[i] = g.String()
	}
	return strings.Join(words, ",")
}

// Advance moves the position to g if it is behind it.
func (p Position) Advance(g GTID) {
	if have, ok := p[g.Domain]; !ok || have.Sequence < g.Sequence {
		p[g.Domain] = g
	}
}

// Clone returns a copy.
func (p Position) Clone() Position {
	c := make(Position, len(p))
	for d, g := range p {
		c[d] = g
	}
	return c
}

// Reached says whether p is at o or past it in every domain of o.
func (p Position) Reached(o Position) bool {
	for d, g := range o {
		if p[d].Sequence < g.Sequence {
			return false
		}
	}
	return true
}

// Lag returns by how many transactions p is behind o, all domains added up.
func (p Position) Lag(o Position) uint64 {
	var n uint64
	for d, g := range o {
		if have := p[d].Sequence; have < g.Sequence {
			n += g.Sequence - have
		}
	}
	return n
}
