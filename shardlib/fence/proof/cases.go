package proof

import (
	"fmt"
	"slices"

	"drover/shardlib/fence"
)

// Statement is a kind of write.
type Statement string

// The kinds. Leaving and Entering change the bucket of a row: out of the bucket
// whose state is tried, and into it. A TRUNCATE fires no trigger; Privileges
// tells who could run one.
const (
	Insert       Statement = "insert"
	InsertIgnore Statement = "insert ignore"
	InsertSelect Statement = "insert select"
	OnDuplicate  Statement = "on duplicate key update"
	Replace      Statement = "replace"
	LoadData     Statement = "load data"
	Update       Statement = "update"
	UpdateJoin   Statement = "update join"
	Leaving      Statement = "update leaving"
	Entering     Statement = "update entering"
	Delete       Statement = "delete"
	DeleteJoin   Statement = "delete join"
)

// Statements lists them in the order in which they are tried.
func Statements() []Statement {
	return []Statement{Insert, InsertIgnore, InsertSelect, OnDuplicate, Replace, LoadData,
		Update, UpdateJoin, Leaving, Entering, Delete, DeleteJoin}
}

// Condition is what the fence says when a statement is tried.
type Condition string

// The conditions of a bucket, and of the shard with an active bucket.
const (
	Active       Condition = "active"
	Frozen       Condition = "frozen"
	Moved        Condition = "moved"
	Incoming     Condition = "incoming"
	Missing      Condition = "missing" // no row
	Unknown      Condition = "unknown" // a word that no version knows
	Null         Condition = "NULL"    // the row has no bucket
	ShardFrozen  Condition = "shard frozen"
	ShardMoved   Condition = "shard moved"
	ShardMissing Condition = "shard missing"
	ShardOther   Condition = "another server" // the shard's row names it as the primary
)

// Conditions lists them in the order in which they are tried.
func Conditions() []Condition {
	return []Condition{Active, Frozen, Moved, Incoming, Missing, Unknown, Null, ShardFrozen, ShardMoved, ShardMissing, ShardOther}
}

// rows are the fence's rows for bucket under a condition, and for another
// bucket, which is active.
func (c Condition) rows(bucket, other uint32) []string {
	shard := fmt.Sprintf("(%d,'%s',@@server_id)", fence.ShardRow, fence.Active)
	row := func(b uint32, state string) string { return fmt.Sprintf("(%d,'%s',0)", b, state) }
	state := string(fence.Active)
	switch c {
	case Frozen, Moved, Incoming:
		state = string(c)
	case Unknown:
		state = "thawing"
	case ShardFrozen:
		shard = fmt.Sprintf("(%d,'%s',@@server_id)", fence.ShardRow, fence.Frozen)
	case ShardMoved:
		shard = fmt.Sprintf("(%d,'%s',@@server_id)", fence.ShardRow, fence.Moved)
	case ShardOther:
		shard = fmt.Sprintf("(%d,'%s',@@server_id + 1)", fence.ShardRow, fence.Active)
	default: // Active; and those without a row, below
	}
	var all []string
	if c != ShardMissing {
		all = append(all, shard)
	}
	if c != Missing && c != Null {
		all = append(all, row(bucket, state))
	}
	if other != bucket {
		all = append(all, row(other, string(fence.Active)))
	}
	return all
}

// applies says whether a statement can be tried under a condition: a row
// without a bucket can only be made, and cannot be there before.
func (s Statement) applies(c Condition, buckets uint32) bool {
	if buckets == 1 && (s == Leaving || s == Entering) {
		return false
	}
	// The shard's row is looked at by trigger, not by kind of statement.
	if slices.Contains([]Condition{ShardFrozen, ShardMoved, ShardMissing, ShardOther}, c) && s != Insert && s != Update && s != Delete {
		return false
	}
	return c != Null || !slices.Contains([]Statement{Update, UpdateJoin, Leaving, Delete, DeleteJoin}, s)
}

// needsRow says whether the statement is about a row that is there.
func (s Statement) needsRow() bool {
	return slices.Contains([]Statement{OnDuplicate, Replace, Update, UpdateJoin, Leaving, Entering, Delete, DeleteJoin}, s)
}

// Outcome is how a trial ended.
type Outcome string

// The outcomes.
const (
	Refused Outcome = "refused"
	Passed  Outcome = "passed"
	Untried Outcome = "untried" // for the reason in Case.Reason
)

// Case is one trial.
type Case struct {
	Statement Statement `json:"statement"`
	Condition Condition `json:"condition"`
	Outcome   Outcome   `json:"outcome"`
	Want      Outcome   `json:"want"`
	Reason    string    `json:"reason,omitempty"`
}

// Right says whether the trial ended as it must.
func (c Case) Right() bool { return c.Outcome == c.Want }

// Wrong lists the cases that did not end as they must.
func Wrong(cases []Case) []Case {
	var wrong []Case
	for _, c := range cases {
		if !c.Right() {
			wrong = append(wrong, c)
		}
	}
	return wrong
}
