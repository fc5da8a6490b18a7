package binlog

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"drover/migrator/internal/database"
	"drover/migrator/internal/edgevalues"
)

var update = flag.Bool("update", false, "write docs/types.md anew")

const pagePath = "../../../docs/types.md"

const pageHead = `# Column types

Written by a test from the list that it moves: ` + "`go test ./migrator/internal/binlog -run TypesPage -update`" + ` writes it anew.

Values of these types come over byte for byte, by the copy and by the tail. The tests insert, change and delete each on a
real server, and compare what the tail reads with what the copy reads, and what the target has with what the source has
(HEX of every value, and CHECKSUM TABLE).

| type | values tried, besides NULL | in a primary key |
| --- | --- | --- |
`

const pageTail = `
## What is refused

By the preflight, or where that cannot see it, by the move, which stops and says why:

| what | why | instead |
| --- | --- | --- |
| COMPRESSED columns | the binlog has them as the server packs them | page_compressed for the table |
| times in the format before MariaDB 10.1 | the binlog does not say how many digits they have | ALTER TABLE … FORCE |
| UUID before MariaDB 10.11.5, 11.0.3, 11.1.2 | they are stored in another order | upgrade, or BINARY(16) |
| the error value 0 of an ENUM, in a row of the buckets | a server takes it only from a session that is not strict, and such a session also cuts and changes values of every other column without an error: the copy would no longer be known to be exact | a member, or NULL |
| VECTOR, XMLTYPE and types not listed | not tested | |
| system-versioned tables, sequences, views | only plain tables can be sharded | |
| FLOAT, DOUBLE, SET, text, blobs and shapes in a primary key | no exact order to copy by | another key |
| an ENUM of more than 64 members in a primary key | each key in a statement would name them all | a number |
| a user id with ZEROFILL | its text is not the request's | MODIFY without ZEROFILL |
| partial row images, row changes logged as statements, XA, ALTER and other DDL during the move | the rows cannot be known from them | abort, and begin again after it |

Columns that the server computes, VIRTUAL and STORED, are not written: the target computes them. INVISIBLE columns and those
with DEFAULT expressions are copied like others. -0 does not occur: MariaDB stores it as 0. CHECKSUM TABLE of a table with a
VIRTUAL column says nothing, on one server or two.
`

var longList = regexp.MustCompile(`'m0','m1',.*'(m\d+)'`)

func TestTheTypesPageListsWhatIsTried(t *testing.T) {
	var b strings.Builder
	b.WriteString(pageHead)
	for _, c := range edgevalues.All() {
		definition := longList.ReplaceAllString(c.Definition, "'m0',…,'$1'")
		word, _, _ := strings.Cut(strings.ToLower(c.Definition), " ")
		word, _, _ = strings.Cut(word, "(")
		key := "no"
		if (database.Column{DataType: word}).Comparable() && !strings.Contains(c.Definition, "'m299'") {
			key = "yes"
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s |\n", definition, strings.ReplaceAll(strings.Join(c.Values, "`, `"), "|", "\\|"), key)
	}
	b.WriteString(pageTail)
	if *update {
		must(t, os.WriteFile(pagePath, []byte(b.String()), 0o644))
	}
	have, err := os.ReadFile(pagePath)
	must(t, err)
	if string(have) != b.String() {
		t.Errorf("%s is not of this list: run go test ./migrator/internal/binlog -run TypesPage -update", pagePath)
	}
}
