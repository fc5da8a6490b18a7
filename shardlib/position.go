package shardlib

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// gtid is one of MariaDB's global transaction ids: domain-server-sequence.
type gtid struct {
	domain, server uint32
	sequence       uint64
}

// position is what a server has committed: the last id of each domain, in the
// order of the domains. Within a domain the sequence alone counts: a server
// that was promoted goes on with the numbers of the one before it.
//
// Rejected: the sets of the go-mysql module. They compare each server of a
// domain by itself, which a promotion makes wrong, and an application that
// links this library would link a replication client.
type position []gtid

// domainsMax bounds a position: 16 ids of at most 42 bytes, 688 bytes with
// what is between them. A server that many others wrote to has a handful.
const domainsMax = 16

var errPosition = errors.New("not a GTID position")

// parsePosition reads ids that the separator parts, in any order. Of two ids
// of a domain the higher counts.
func parsePosition(text, separator string) (position, error) {
	var p position
	if text == "" {
		return nil, nil
	}
	for word := range strings.SplitSeq(text, separator) {
		parts := strings.Split(strings.TrimSpace(word), "-")
		if len(parts) != 3 {
			return nil, fmt.Errorf("%w: %.60q: want DOMAIN-SERVER-SEQUENCE", errPosition, word)
		}
		domain, err1 := strconv.ParseUint(parts[0], 10, 32)
		server, err2 := strconv.ParseUint(parts[1], 10, 32)
		sequence, err3 := strconv.ParseUint(parts[2], 10, 64)
		if err := cmp.Or(err1, err2, err3); err != nil {
			return nil, fmt.Errorf("%w: %.60q: %w", errPosition, word, err)
		}
		p = p.merge(position{{uint32(domain), uint32(server), sequence}})
		if len(p) > domainsMax {
			return nil, fmt.Errorf("%w: more than %d domains", errPosition, domainsMax)
		}
	}
	return p, nil
}

func (p position) text(separator string) string {
	words := make([]string, len(p))
	for i, g := range p {
		words[i] = fmt.Sprintf("%d-%d-%d", g.domain, g.server, g.sequence)
	}
	return strings.Join(words, separator)
}

func (p position) find(domain uint32) (int, bool) {
	return slices.BinarySearchFunc(p, domain, func(g gtid, d uint32) int { return cmp.Compare(g.domain, d) })
}

// merge returns a position that has reached both; it shares nothing with p
// unless o adds nothing.
func (p position) merge(o position) position {
	if p.reached(o) {
		return p
	}
	p = slices.Clone(p)
	for _, g := range o {
		switch i, found := p.find(g.domain); {
		case !found:
			p = slices.Insert(p, i, g)
		case p[i].sequence < g.sequence:
			p[i] = g
		}
	}
	return p
}

// reached says whether p is at o or past it in every domain of o.
func (p position) reached(o position) bool {
	for _, g := range o {
		if i, found := p.find(g.domain); !found || p[i].sequence < g.sequence {
			return false
		}
	}
	return true
}

// knows says whether p has every domain of o.
func (p position) knows(o position) bool {
	for _, g := range o {
		if _, found := p.find(g.domain); !found {
			return false
		}
	}
	return true
}
