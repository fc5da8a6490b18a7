package mirror

import "bytes"

// textBefore is how much of a text is shown before where it differs.
const textBefore = 40

// texts compares bodies that are no JSON, byte by byte, less what the rules
// leave out.
func (c *comparer) texts(a, b []byte) {
	for _, r := range c.rules.text {
		a, b = r.ReplaceAll(a, nil), r.ReplaceAll(b, nil)
	}
	if bytes.Equal(a, b) {
		return
	}
	at := 0
	for at < len(a) && at < len(b) && a[at] == b[at] {
		at++
	}
	around := func(body []byte) string {
		from := max(at-textBefore, 0)
		return string(body[from:min(from+valueShown, len(body))])
	}
	c.add(fieldBody, around(a), around(b))
}
