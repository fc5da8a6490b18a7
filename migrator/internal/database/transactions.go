package database

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	gtid "github.com/go-mysql-org/go-mysql/mysql"
)

// Transactions are those that a server has, as it names them itself: the last
// of each domain on MariaDB, a set of uuid:intervals on MySQL. The zero value
// is none. It never changes.
type Transactions struct {
	position Position
	set      gtid.MysqlGTIDSet
}

// ParseTransactions reads what a server's variables hold, of either family.
func ParseTransactions(text string) (Transactions, error) {
	if !strings.Contains(text, ":") {
		p, err := ParsePosition(text)
		return Transactions{position: p}, err
	}
	parsed, err := gtid.ParseMysqlGTIDSet(strings.Trim(text, " \n,"))
	if err != nil {
		return Transactions{}, fmt.Errorf("GTID set %q: want UUID:INTERVAL[:INTERVAL…][,…]: %w", text, err)
	}
	set, ok := parsed.(*gtid.MysqlGTIDSet)
	if !ok {
		return Transactions{}, fmt.Errorf("GTID set %q: it is a %T", text, parsed)
	}
	return Transactions{set: *set}, nil
}

func (t Transactions) String() string {
	if len(t.set) != 0 {
		return t.set.String()
	}
	return t.position.String()
}

// Reached says whether t has all that o has. Those of two families never do.
func (t Transactions) Reached(o Transactions) bool { return t.Lag(o) == 0 }

// Lag returns how many transactions o has and t does not: by their numbers, so
// on MariaDB it may say too many, never none where there are some.
func (t Transactions) Lag(o Transactions) uint64 {
	n := t.position.Lag(o.position)
	for _, tags := range o.without(t).set {
		for _, intervals := range tags {
			for _, i := range intervals {
				n += uint64(i.Stop - i.Start)
			}
		}
	}
	return n
}

// With returns what t or o has.
func (t Transactions) With(o Transactions) Transactions {
	all := Transactions{position: t.position.Clone()}
	for _, g := range o.position {
		all.position.Advance(g)
	}
	if len(t.set)+len(o.set) == 0 {
		return all
	}
	all.set = gtid.NewMysqlGTIDSet()
	for _, part := range []gtid.MysqlGTIDSet{t.set, o.set} {
		for source, tags := range part {
			if all.set[source] == nil {
				all.set[source] = map[gtid.Tag]gtid.IntervalSlice{}
			}
			for tag, intervals := range tags {
				both := append(append(gtid.IntervalSlice{}, all.set[source][tag]...), intervals...)
				all.set[source][tag] = both.Normalize()
			}
		}
	}
	return all
}

// without returns the sets' part of t that o does not have, as GTID_SUBTRACT
// does.
func (t Transactions) without(o Transactions) Transactions {
	left := Transactions{set: gtid.NewMysqlGTIDSet()}
	for source, tags := range t.set {
		for tag, intervals := range tags {
			rest := subtract(intervals, o.set[source][tag])
			if len(rest) == 0 {
				continue
			}
			if left.set[source] == nil {
				left.set[source] = map[gtid.Tag]gtid.IntervalSlice{}
			}
			left.set[source][tag] = rest
		}
	}
	return left
}

// subtract returns what a has and b does not. Both are in order and do not
// overlap; an interval's Stop is not in it.
func subtract(a, b gtid.IntervalSlice) gtid.IntervalSlice {
	var rest gtid.IntervalSlice
	for _, i := range a {
		for _, taken := range b {
			if taken.Stop <= i.Start {
				continue
			}
			if taken.Start >= i.Stop {
				break
			}
			if taken.Start > i.Start {
				rest = append(rest, gtid.Interval{Start: i.Start, Stop: taken.Start})
			}
			i.Start = min(taken.Stop, i.Stop)
		}
		if i.Start < i.Stop {
			rest = append(rest, i)
		}
	}
	return rest
}

// Committed returns what the server's binlog has.
func (s *Server) Committed(ctx context.Context) (Transactions, error) {
	return s.transactions(ctx, func(d Dialect) string { return d.Position })
}

// Replicated returns what the server has applied as a replica. What it wrote by
// itself cannot pass for it.
func (s *Server) Replicated(ctx context.Context) (Transactions, error) {
	return s.transactions(ctx, func(d Dialect) string { return d.Replicated })
}

func (s *Server) transactions(ctx context.Context, of func(Dialect) string) (Transactions, error) {
	d, err := s.Dialect(ctx)
	if err != nil {
		return Transactions{}, err
	}
	text, err := s.Variable(ctx, of(d))
	if err != nil {
		return Transactions{}, err
	}
	t, err := ParseTransactions(text)
	if err != nil {
		return Transactions{}, fmt.Errorf("database %s: @@%s: %w", s.Name(), of(d), err)
	}
	return t, nil
}

// Await waits until the server has applied t as a replica, at most for limit.
// It says whether it has.
func (s *Server) Await(ctx context.Context, t Transactions, limit time.Duration) (bool, error) {
	if limit <= 0 { // which both families take for no limit, or nearly
		return false, nil
	}
	d, err := s.Dialect(ctx)
	if err != nil {
		return false, err
	}
	var code sql.NullInt64
	if err := s.DB.QueryRowContext(ctx, d.Await, t.String(), limit.Seconds()).Scan(&code); err != nil {
		return false, fmt.Errorf("database %s: wait for %s: %w", s.Name(), t, err)
	}
	return code.Valid && code.Int64 == 0, nil
}

// Errant is what a server has and its primary does not.
type Errant struct {
	ids     []GTID  // of MariaDB
	primary History // of MariaDB
	set     Transactions
}

// Errant compares the server with its primary. The server is read first: the
// primary's transactions become more meanwhile.
func (s *Server) Errant(ctx context.Context, primary *Server) (Errant, error) {
	d, err := s.Dialect(ctx)
	if err != nil {
		return Errant{}, err
	}
	if d.MySQL() {
		own, err := s.Committed(ctx)
		if err != nil {
			return Errant{}, err
		}
		has, err := primary.Committed(ctx)
		if err != nil {
			return Errant{}, err
		}
		return Errant{set: own.without(has)}, nil
	}
	own, err := s.BinlogHistory(ctx)
	if err != nil {
		return Errant{}, err
	}
	has, err := primary.BinlogHistory(ctx)
	if err != nil {
		return Errant{}, err
	}
	return Errant{ids: own.Errant(has), primary: has}, nil
}

// None says that there is nothing.
func (e Errant) None() bool { return len(e.ids) == 0 && len(e.set.set) == 0 }

func (e Errant) String() string {
	if len(e.set.set) != 0 {
		return e.set.String()
	}
	return fmt.Sprint(e.ids)
}

// Count is how many they are: of each, what comes after all that the primary
// had of it, by its history or in shared. On MariaDB sequence numbers count
// transactions, so it may say too many where the server left some out, never
// none where there are some.
func (e Errant) Count(shared Transactions) uint64 {
	n := Transactions{}.Lag(e.set)
	for _, g := range e.ids {
		common := max(e.primary[[2]uint32{g.Domain, g.Server}], shared.position[g.Domain].Sequence)
		n += max(1, g.Sequence-min(g.Sequence, common))
	}
	return n
}
