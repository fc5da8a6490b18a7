package preflight

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"drover/migrator/internal/binlog"
	"drover/migrator/internal/database"
)

// columns refuses columns whose values do not come over byte for byte.
func (j *tableJudge) columns(t *tableFacts) {
	name := t.sharded.Name
	for _, c := range t.table.Columns {
		switch {
		case strings.Contains(c.Type, "COMPRESSED") && !binlog.Readable(c):
			j.add(ReadableColumns, refuse("ALTER TABLE "+name+" MODIFY the column without COMPRESSED; InnoDB's page_compressed does the same for the table",
				"table %s, column %s: the binlog has the values of a COMPRESSED column as the server packs them", name, c.Name))
		case !binlog.Readable(c):
			j.add(ReadableColumns, refuse("change its type",
				"table %s, column %s: the type %s does not survive the way through the binlog", name, c.Name, c.Type))
		case c.DataType == "uuid" && !uuidOrder(j.s.variables["version"]):
			j.add(ReadableColumns, refuse("upgrade to MariaDB 10.11.5, 11.0.3, 11.1.2 or newer, or use BINARY(16)",
				"table %s, column %s: %s stores a UUID in an order that this program does not know", name, c.Name, j.s.variables["version"]))
		}
	}
}

// uuidSince are the first releases that store UUIDs in today's order
// (MDEV-29959), by their series.
var uuidSince = map[[2]int]int{{10, 10}: 6, {10, 11}: 5, {11, 0}: 3, {11, 1}: 2}

var release = regexp.MustCompile(`^(\d+)\.(\d+)\.(\d+)`)

// uuidOrder says whether a server's UUIDs can be read from its binlog.
func uuidOrder(version string) bool {
	m := release.FindStringSubmatch(version)
	if m == nil {
		return false
	}
	var n [3]int
	for i := range n {
		n[i], _ = strconv.Atoi(m[1+i]) // digits
	}
	if since, ok := uuidSince[[2]int{n[0], n[1]}]; ok {
		return n[2] >= since
	}
	return slices.Compare(n[:2], []int{11, 1}) > 0
}

// printsItself says whether the text of a user id in the column is that of the
// number: by the text the server computes the bucket.
func printsItself(c database.Column) bool { return !c.Zerofill() }
