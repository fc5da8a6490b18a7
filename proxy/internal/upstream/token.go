package upstream

import (
	"bytes"
	"strings"
)

// HasToken says whether a header line has that name and, in its list, that
// token; both in lower case.
func HasToken(name, value []byte, wantName, wantToken string) bool {
	if len(name) != len(wantName) || !strings.EqualFold(string(name), wantName) {
		return false
	}
	for token := range bytes.SplitSeq(value, []byte{','}) {
		if strings.EqualFold(string(bytes.TrimSpace(token)), wantToken) {
			return true
		}
	}
	return false
}
