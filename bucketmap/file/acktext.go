package file

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"

	"drover/bucketmap"
)

// appendTo appends a line of JSON, with its check: what Marshal makes, without
// its garbage, because a proxy writes one for each version.
func (a ack) appendTo(dst []byte) ([]byte, error) {
	begin := len(dst)
	dst, err := appendString(append(dst, `{"proxy":`...), a.Proxy)
	if err != nil {
		return nil, err
	}
	dst = strconv.AppendUint(append(dst, `,"version":`...), uint64(a.Version), 10)
	if a.Digest != (bucketmap.Digest{}) {
		dst = append(hex.AppendEncode(append(dst, `,"digest":"`...), a.Digest[:]), '"')
	}
	if dst, err = a.Since.AppendText(append(dst, `,"since":"`...)); err != nil {
		return nil, fmt.Errorf("since when: %w", err)
	}
	dst = append(dst, '"')
	if a.Refused != 0 {
		dst = strconv.AppendUint(append(dst, `,"refused":`...), uint64(a.Refused), 10)
	}
	if a.Reason != "" {
		if dst, err = appendString(append(dst, `,"reason":`...), a.Reason); err != nil {
			return nil, err
		}
	}
	dst = append(dst, '}')
	sum := sumOf(dst[begin:])
	dst = strconv.AppendUint(append(dst[:len(dst)-1], `,"check":`...), uint64(sum), 10)
	return append(dst, "}\n"...), nil
}

// appendString appends what Marshal makes of a text.
func appendString(dst []byte, text string) ([]byte, error) {
	for i := range len(text) {
		switch c := text[i]; {
		case c < ' ', c > '~', c == '"', c == '\\', c == '<', c == '>', c == '&':
			quoted, err := json.Marshal(text)
			return append(dst, quoted...), err
		}
	}
	return append(append(append(dst, '"'), text...), '"'), nil
}
