package cases

import (
	"strings"

	. "drover/tools/conformance/internal/script" //nolint:staticcheck // the table is written in the package's words
)

// fields are about the field lines.
func fields() []Case {
	refused := each(Refused(), nil, []row{
		{"name-space-before-colon", "9112 5.1", "no blank between a name and its colon", Get("/", "X-A : b")},
		{"name-tab-before-colon", "9112 5.1", "no blank between a name and its colon", Get("/", "X-A\t: b")},
		{"name-with-nul", "9110 5.1", "a name is a token", Get("/", "X\x00A: b")},
		{"head-with-nul-line", "9112 5", "a line of NUL is no field", Get("/", "\x00")},
	})
	// A reader may drop what is no field, as long as the origin never sees it.
	dropped := each(passedOrRefused(), Refused(), []row{
		{"name-empty", "9112 5", "a field has a name", Get("/", ": b")},
		{"name-with-space", "9110 5.1", "a name is a token", Get("/", "X A: b")},
		{"name-with-control", "9110 5.1", "a name is a token", Get("/", "X\x01A: b")},
		{"name-with-del", "9110 5.1", "a name is a token", Get("/", "X\x7fA: b")},
		{"name-with-high-byte", "9110 5.1", "a name is a token", Get("/", "X\xe9A: b")},
		{"name-with-parenthesis", "9110 5.1", "a name is a token", Get("/", "X(A): b")},
		{"name-with-at", "9110 5.1", "a name is a token", Get("/", "X@A: b")},
		{"name-with-slash", "9110 5.1", "a name is a token", Get("/", "X/A: b")},
		{"name-with-quote", "9110 5.1", "a name is a token", Get("/", "X\"A\": b")},
		{"field-without-colon", "9112 5", "a field has a colon", Get("/", "junk")},
		{"fold-with-space", "9112 5.2", "a folded line is refused or replaced by blanks", Get("/", "X-A: b\r\n c")},
		{"fold-with-tab", "9112 5.2", "a folded line is refused or replaced by blanks", Get("/", "X-A: b\r\n\tc")},
		{"fold-empty", "9112 5.2", "a line of blanks is a folded one", Get("/", "X-A: b\r\n ")},
		{"first-line-indented", "9112 2.2", "blanks before the first field are refused or skipped", "GET / HTTP/1.1\r\n " + host + "\r\n" + host + "\r\n\r\n"},
		{"value-with-bare-cr", "9112 2.2", "a bare CR is refused or replaced by a blank", Get("/", "X-A: b\rc")},
		{"value-with-nul", "9110 5.5", "NUL is refused or replaced by a blank", Get("/", "X-A: b\x00c")},
		{"value-with-control", "9110 5.5", "control bytes are invalid; a reader may keep some", Get("/", "X-A: b\x01c")},
		{"value-with-escape", "9110 5.5", "control bytes are invalid; a reader may keep some", Get("/", "X-A: \x1b[31m")},
		{"value-with-vertical-tab", "9110 5.5", "control bytes are invalid; a reader may keep some", Get("/", "X-A: b\x0bc")},
		{"value-with-del", "9110 5.5", "control bytes are invalid; a reader may keep some", Get("/", "X-A: b\x7fc")},
		{"field-ends-in-bare-lf", "9112 2.2", "a lenient reader may take LF for CRLF", Get("/", "X-A: b\nX-B: c")},
		{"field-ends-in-two-cr", "9112 2.2", "the first CR is a bare one", Get("/", "X-A: b\r")},
		{"head-ends-in-bare-lf", "9112 2.2", "a lenient reader may take LF for CRLF", "GET / HTTP/1.1\r\n" + host + "\r\n\n"},
	})
	odd := "!#$%&'*+-.^_`|~09azAZ"
	passed := []Case{
		{Name: "name-of-all-token-bytes", RFC: "9110 5.1", Why: "every token is a name: pass it, or drop what is not understood", Send: Get("/", odd+": b"), Want: Passed(Any(GotValue(0, odd, "b"), GotNo(0, odd))), Drover: Passed(Got(0, odd+": b"))},
		{Name: "name-with-underscore", RFC: "9110 5.1", Why: "an underscore is a token's byte", Send: Get("/", "X_A: b"), Want: Passed(GotValue(0, "X_A", "b"))},
		{Name: "value-empty", RFC: "9110 5.5", Why: "a value may be empty", Send: Get("/", "X-A:", "X-B: c"), Want: Passed(GotOnly(0, "X-A", ""), GotOnly(0, "X-B", "c"))},
		{Name: "value-without-blank", RFC: "9112 5.1", Why: "the blank behind the colon is optional", Send: Get("/", "X-A:b"), Want: Passed(GotOnly(0, "X-A", "b"))},
		{Name: "value-with-blanks-around", RFC: "9112 5.1", Why: "blanks around a value are no part of it", Send: Get("/", "X-A: \t b \t "), Want: Passed(GotOnly(0, "X-A", "b"))},
		{Name: "value-with-tab-inside", RFC: "9110 5.5", Why: "a tab within a value is valid", Send: Get("/", "X-A: b\tc"), Want: Passed(GotOnly(0, "X-A", "b\tc"))},
		{Name: "value-with-high-bytes", RFC: "9110 5.5", Why: "bytes over 0x7f pass as they came", Send: Get("/", "X-A: \xff\xfe\x80"), Want: Passed(GotOnly(0, "X-A", "\xff\xfe\x80"))},
		{Name: "value-with-all-visible-bytes", RFC: "9110 5.5", Why: "all visible bytes are a value's", Send: Get("/", "X-A: "+visible()), Want: Passed(GotOnly(0, "X-A", visible()))},
		{Name: "value-long", RFC: "9112 3", Why: "8,000 bytes are to be supported", Send: Get("/", "X-A: "+strings.Repeat("a", 8000)), Want: Passed(GotOnly(0, "X-A", strings.Repeat("a", 8000)))},
		{Name: "target-long", RFC: "9112 3", Why: "request lines of 8,000 bytes are to be supported", Send: Get("/" + strings.Repeat("a", 7980)), Want: Passed(Got(0, "GET /"+strings.Repeat("a", 7980)+" HTTP/1.1"))},
		{Name: "fields-many", RFC: "9110 5.4", Why: "60 fields are nothing unusual", Send: Get("/", strings.Split(strings.Repeat("X-A: b,", 60)+"X-End: c", ",")...), Want: Passed(GotOnly(0, "X-End", "c"))},
	}
	return append(append(refused, dropped...), passed...)
}

// visible are all visible bytes of ASCII, and the blank.
func visible() string {
	var b strings.Builder
	for c := byte('!'); c <= '~'; c++ {
		b.WriteByte(c)
	}
	return b.String()
}
