package preflight

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"drover/migrator/internal/database"
)

// The checks of sharded tables. Each has a result a server, which names the
// tables that it is about.
const (
	TableExists     = "table-exists"
	TableEngine     = "table-engine"
	PrimaryKey      = "primary-key"
	ReadableColumns = "readable-columns"
	ShardingColumn  = "sharding-column"
	BucketValues    = "bucket-values"
	BucketIndex     = "bucket-index"
	UniqueKeys      = "unique-keys"
	UserCollation   = "user-collation"
	ForeignKeys     = "foreign-keys"
)

// judgeTables checks every table on every server. What the rows of one server
// tell of a table holds for all: an empty target has no rows to learn from.
func (p *Preflight) judgeTables(f *findings, all []*facts) {
	users := p.userColumns(all)
	for _, s := range all {
		if !s.read {
			continue
		}
		j := tableJudge{p: p, s: s, found: map[string][]finding{}, users: users}
		for _, t := range s.tables {
			j.judge(t)
		}
		for _, name := range []string{TableExists, TableEngine, PrimaryKey, ReadableColumns, ShardingColumn, BucketValues, BucketIndex,
			UniqueKeys, UserCollation, ForeignKeys} {
			f.check(s.server, name, j.found[name]...)
		}
		p.judgeTriggers(f, s)
	}
}

// userColumns finds, for each table whose bucket is written by the
// application, the columns that hold its user id in every row looked at.
func (p *Preflight) userColumns(all []*facts) map[string][]string {
	users := map[string][]string{}
	for i, sharded := range p.Tables {
		rows, agree := 0, map[string]int{}
		for _, s := range all {
			if !s.read || s.tables[i].table == nil {
				continue
			}
			rows += s.tables[i].sample.rows
			for column, n := range s.tables[i].sample.agree {
				agree[column] += n
			}
		}
		for column, n := range agree {
			if rows != 0 && n == rows {
				users[sharded.Name] = append(users[sharded.Name], column)
			}
		}
		slices.Sort(users[sharded.Name])
	}
	return users
}

type tableJudge struct {
	p     *Preflight
	s     *facts
	users map[string][]string // by table
	found map[string][]finding
}

func (j *tableJudge) add(name string, g finding) { j.found[name] = append(j.found[name], g) }

func (j *tableJudge) judge(t *tableFacts) {
	name := t.sharded.Name
	if t.err != nil {
		if errors.Is(t.err, database.ErrNoTable) {
			j.add(TableExists, refuse("create it as it is on the other shards, or take it out of the configuration's tables",
				"there is no table %s", name))
		} else {
			j.add(TableExists, refuse("put the table, or the configuration's tables, right", "%s", t.err))
		}
		return
	}
	if !strings.EqualFold(t.table.Engine, "InnoDB") {
		j.add(TableEngine, refuse("ALTER TABLE "+name+" ENGINE=InnoDB", "table %s has the engine %s: nothing in it is transactional", name, t.table.Engine))
	}
	for _, a := range []answer{t.bucket, t.unique, t.references} {
		if a.err != nil {
			j.add(TableExists, unknown(Error, "SELECT", a.err))
			return
		}
	}
	j.primaryKey(t)
	j.columns(t)
	j.shardingColumn(t)
	j.bucketValues(t)
	j.uniqueKeys(t)
	j.foreignKeys(t)
}

func (j *tableJudge) primaryKey(t *tableFacts) {
	name := t.sharded.Name
	if len(t.table.Primary) == 0 {
		j.add(PrimaryKey, refuse("ALTER TABLE "+name+" ADD PRIMARY KEY (…)", "table %s has no primary key", name))
		return
	}
	for _, i := range t.table.Primary {
		c := t.table.Columns[i]
		if !c.Comparable() {
			j.add(PrimaryKey, refuse("make a primary key of integers, dates, CHAR, BINARY, UUID or short ENUM columns",
				"table %s: the copy cannot go by the order of the key's column %s, of type %s", name, c.Name, c.Type))
		}
	}
	for _, k := range t.keys() {
		if k.name == "PRIMARY" && len(k.prefixed) != 0 {
			j.add(PrimaryKey, refuse("make a primary key of whole columns",
				"table %s: the primary key has only the beginning of %s", name, strings.Join(k.prefixed, ", ")))
		}
	}
}

// shardingColumn checks the column that decides the bucket, and whether the
// copy finds the rows of a bucket by an index.
func (j *tableJudge) shardingColumn(t *tableFacts) {
	name, c := t.sharded.Name, t.table.Columns[t.table.Index(t.sharded.Column())]
	if t.sharded.UserColumn != "" {
		if !canBeUser(c) {
			j.add(ShardingColumn, refuse("keep user ids in an integer, CHAR, VARCHAR, BINARY or VARBINARY column",
				"table %s: the user column %s is %s", name, c.Name, c.Type))
		}
		if !printsItself(c) {
			j.add(ShardingColumn, refuse("ALTER TABLE "+name+" MODIFY the column without ZEROFILL",
				"table %s: the user column %s is ZEROFILL: its text has zeros in front that a request's user id has not", name, c.Name))
		}
		switch c.Charset {
		case "ucs2", "utf16", "utf16le", "utf32":
			j.add(ShardingColumn, refuse("convert the column to utf8mb4 or make it VARBINARY",
				"table %s: the user column %s is in %s, so its bytes are never those of a request's user id", name, c.Name, c.Charset))
		}
		j.add(BucketIndex, warn("give the table a column bucket INT UNSIGNED AS (CRC32("+c.Name+fmt.Sprintf(") %% %d) STORED with an index, "+
			"and name it as bucket_column", j.p.Map.Buckets()), "table %s has no bucket column: the copy reads the whole table", name))
	} else {
		switch c.DataType {
		case "tinyint", "smallint", "mediumint", "int", "bigint":
		default:
			j.add(ShardingColumn, refuse("make it INT UNSIGNED", "table %s: the bucket column %s is %s", name, c.Name, c.Type))
		}
		if t.generation().virtual {
			j.add(ShardingColumn, refuse("make it STORED",
				"table %s: the bucket column %s is VIRTUAL, so row events need not have it", name, c.Name))
		}
		if !t.table.Indexed {
			j.add(BucketIndex, warn("ALTER TABLE "+name+" ADD KEY ("+c.Name+")",
				"table %s has no index that begins with %s: the copy reads the whole table", name, c.Name))
		}
	}
	if c.Nullable && !t.generation().generated {
		j.add(ShardingColumn, warn("make it NOT NULL", "table %s: %s may be NULL, and rows that have no bucket never move", name, c.Name))
	}
}

// bucketValues compares rows with the map's bucket count.
func (j *tableJudge) bucketValues(t *tableFacts) {
	name, column, buckets := t.sharded.Name, t.sharded.BucketColumn, j.p.Map.Buckets()
	if column == "" {
		j.add(BucketValues, note("table %s: computed from %s", name, t.sharded.UserColumn))
		return
	}
	const remedy = "the bucket must be CRC32(user id) % the map's bucket count: put the column right in every row before anything is moved"
	if g := t.generation(); g.modulus != 0 {
		if g.modulus != uint64(buckets) {
			j.add(BucketValues, refuse(remedy, "table %s: %s is %s, and the map has %d buckets", name, column, g.expression, buckets))
		}
		return
	}
	s := t.sample
	if s.err != nil {
		j.add(BucketValues, unknown(Error, "SELECT", s.err))
		return
	}
	if s.outside != 0 {
		j.add(BucketValues, refuse(remedy, "table %s: of %d rows looked at, %d have no bucket of the map's 0 to %d", name, s.rows, s.outside, buckets-1))
		return
	}
	if highest, ok := parseBucket(s.highest); ok && highest >= uint64(buckets) {
		j.add(BucketValues, refuse(remedy, "table %s: there are rows of bucket %d, and the map has 0 to %d", name, highest, buckets-1))
		return
	}
	if s.rows == 0 {
		j.add(BucketValues, note("table %s: there are no rows to look at", name))
		return
	}
	best, agreeing := "", 0
	for _, c := range t.table.Columns {
		if n := s.agree[c.Name]; n > agreeing {
			best, agreeing = c.Name, n
		}
	}
	switch agreeing {
	case s.rows:
		j.add(BucketValues, note("table %s: %d rows looked at agree with %s", name, s.rows, best))
	case 0:
		j.add(BucketValues, refuse(remedy, "table %s: of %d rows looked at, none has the bucket CRC32(column) %% %d of any of its columns", name, s.rows, buckets))
	default:
		j.add(BucketValues, refuse(remedy, "table %s: of %d rows looked at, %d have another bucket than CRC32(%s) %% %d", name, s.rows, s.rows-agreeing, best, buckets))
	}
}

// parseBucket reads a bucket; there is none where the table is empty.
func parseBucket(text string) (uint64, bool) {
	n, err := strconv.ParseUint(text, 10, 64)
	return n, err == nil
}

// uniqueKeys refuses a key that two shards may both have rows for: their rows
// would collide where a move brings them together, and the one that comes would
// replace the other. A key that has what decides the bucket cannot.
func (j *tableJudge) uniqueKeys(t *tableFacts) {
	name := t.sharded.Name
	deciding := [][]string{{t.sharded.Column()}} // each of these in a key is enough
	if g := t.generation(); g.generated && len(g.sources) != 0 {
		deciding = append(deciding, g.sources)
	}
	for _, c := range j.users[name] {
		deciding = append(deciding, []string{c})
	}
	known := t.sharded.UserColumn != "" || t.generation().generated || len(j.users[name]) != 0
	for _, k := range t.keys() {
		holds := slices.ContainsFunc(deciding, func(columns []string) bool {
			return !slices.ContainsFunc(columns, func(c string) bool { return !k.has(c) })
		})
		switch {
		case holds:
			j.collation(t, k, deciding)
		case known || !canHoldUser(t, k):
			j.add(UniqueKeys, refuse("add "+t.sharded.Column()+" to the key, or make it unique across all shards by having the user id in it",
				"table %s: the unique key %s has neither %s nor the user id whole: rows of two shards may collide", name, k, t.sharded.Column()))
		default:
			j.add(UniqueKeys, warn("see that a column of the key holds the user id, or add "+t.sharded.Column()+" to the key",
				"table %s: whether the unique key %s has the user id cannot be told from the rows that there are", name, k))
		}
	}
}

// canHoldUser says whether a column of a key may be the user id, as far as its
// description tells.
func canHoldUser(t *tableFacts, k uniqueKey) bool {
	for _, column := range k.columns {
		if i := t.table.Index(column); i >= 0 && k.has(column) && canBeUser(t.table.Columns[i]) && !t.table.Columns[i].Generated {
			return true
		}
	}
	return false
}

// collation warns of user ids that the key takes for one, and that have two
// buckets.
func (j *tableJudge) collation(t *tableFacts, k uniqueKey, deciding [][]string) {
	if k.has(t.sharded.Column()) && t.sharded.BucketColumn != "" {
		return // they differ in the bucket
	}
	for _, columns := range deciding {
		for _, column := range columns {
			i := t.table.Index(column)
			if i < 0 || !k.has(column) {
				continue
			}
			c := t.table.Columns[i]
			if c.Charset == "" || strings.HasSuffix(c.Collation, "_bin") || strings.HasSuffix(c.Collation, "_nopad_bin") {
				continue
			}
			j.add(UserCollation, warn("make the column VARBINARY or give it a _bin collation, unless user ids differ in more than case and accents",
				"table %s: in the key %s, %s has the collation %s: two user ids that it takes for one have two buckets, and on one shard they would collide",
				t.sharded.Name, k, c.Name, c.Collation))
		}
	}
}

// foreignKeys refuses what changes rows behind the binlog's back, and rows that
// would be torn apart.
func (j *tableJudge) foreignKeys(t *tableFacts) {
	name, schema := t.sharded.Name, j.s.server.Database
	sharded := func(table string) bool {
		return slices.ContainsFunc(j.s.tables, func(o *tableFacts) bool { return strings.EqualFold(o.sharded.Name, table) })
	}
	r := t.references
	key, onUpdate, onDelete := r.column("name"), r.column("on_update"), r.column("on_delete")
	parentSchema, parent := r.column("parent_schema"), r.column("parent")
	for i := range key {
		for _, rule := range []string{"UPDATE " + onUpdate[i], "DELETE " + onDelete[i]} {
			if !strings.HasSuffix(rule, "RESTRICT") && !strings.HasSuffix(rule, "NO ACTION") {
				j.add(ForeignKeys, refuse("drop the rule, and let the application do what it did",
					"table %s: the foreign key %s has ON %s: what it changes is not in the binlog", name, key[i], rule))
			}
		}
		if !strings.EqualFold(parentSchema[i], schema) || !sharded(parent[i]) {
			j.add(ForeignKeys, refuse("name that table in the configuration's tables, or drop the foreign key",
				"table %s: the foreign key %s refers to %s.%s, which does not move with it", name, key[i], parentSchema[i], parent[i]))
		}
	}
	if j.s.referring.err != nil {
		j.add(ForeignKeys, unknown(Warning, "PROCESS", j.s.referring.err))
		return
	}
	children, parents := j.s.referring.column("child"), j.s.referring.column("parent")
	for i := range children {
		if parents[i] != fileName(schema)+"/"+fileName(name) {
			continue
		}
		childSchema, child, _ := strings.Cut(children[i], "/")
		if childSchema == fileName(schema) && slices.ContainsFunc(j.s.tables, func(o *tableFacts) bool { return fileName(o.sharded.Name) == child }) {
			continue
		}
		j.add(ForeignKeys, refuse("name that table in the configuration's tables, or drop its foreign key",
			"table %s: %s.%s refers to it, and does not move with it", name, childSchema, child))
	}
}

// fileName writes a name as InnoDB does: what is not a letter, a digit or '_'
// of ASCII is '@' and its code. For letters beyond ASCII it has shorter codes,
// which are not known here: such a table is not found among the children.
func fileName(name string) string {
	var b strings.Builder
	for _, r := range name {
		if r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "@%04x", r)
		}
	}
	return b.String()
}
