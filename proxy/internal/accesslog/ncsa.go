package accesslog

import (
	"strconv"
	"time"

	"drover/proxy/internal/passport"
)

// timeLayout is Apache's %t, in UTC.
const timeLayout = "02/Jan/2006:15:04:05 -0700"

// AppendCommon appends a request's line in the common format, Apache's
// "%h %l %u %t \"%r\" %>s %b", for a request that ended at now. The request
// line is without its query; of a request that could not be read, and of an
// answer that was not given, there is a "-".
func AppendCommon(dst []byte, p *passport.Passport, now time.Time) []byte {
	return append(appendCommon(dst, p, now), '\n')
}

// AppendCombined appends the same with referer and user agent.
func AppendCombined(dst []byte, p *passport.Passport, now time.Time) []byte {
	dst = appendCommon(dst, p, now)
	dst = appendHeader(append(dst, ' '), p.Referer)
	dst = appendHeader(append(dst, ' '), p.UserAgent)
	return append(dst, '\n')
}

func appendCommon(dst []byte, p *passport.Passport, now time.Time) []byte {
	if p.Peer.IsValid() {
		dst = p.Peer.Addr().Unmap().WithZone("").AppendTo(dst)
	} else {
		dst = append(dst, '-')
	}
	begun := now.Add(-p.Times().Total).UTC()
	dst = begun.AppendFormat(append(dst, " - - ["...), timeLayout)
	dst = append(dst, `] "`...)
	if p.Method == "" {
		dst = append(dst, '-')
	} else {
		dst = appendEscaped(dst, p.Method)
		dst = appendEscaped(append(dst, ' '), p.Path)
		dst = appendEscaped(append(dst, ' '), p.Protocol)
	}
	dst = append(dst, `" `...)
	if p.Status == 0 {
		dst = append(dst, '-')
	} else {
		dst = strconv.AppendInt(dst, int64(p.Status), 10)
	}
	if p.BytesOut == 0 {
		return append(dst, " -"...)
	}
	return strconv.AppendInt(append(dst, ' '), p.BytesOut, 10)
}

// headerBytesMax bounds each header in a line.
const headerBytesMax = 1 << 10

func appendHeader(dst, value []byte) []byte {
	if value == nil {
		return append(dst, `"-"`...)
	}
	return append(appendEscaped(append(dst, '"'), value[:min(len(value), headerBytesMax)]), '"')
}

const hexDigits = "0123456789abcdef"

// appendEscaped appends text as Apache's ap_escape_logitem does: a quote and a
// backslash behind a backslash, the usual letters for five control bytes, and
// \xhh for every other byte that is not printable ASCII.
func appendEscaped[T ~string | ~[]byte](dst []byte, text T) []byte {
	start := 0
	for i := range len(text) {
		b := text[i]
		if b >= ' ' && b < 0x7f && b != '"' && b != '\\' {
			continue
		}
		dst = append(append(dst, text[start:i]...), '\\')
		start = i + 1
		switch b {
		case '"', '\\':
			dst = append(dst, b)
		case '\b':
			dst = append(dst, 'b')
		case '\n':
			dst = append(dst, 'n')
		case '\r':
			dst = append(dst, 'r')
		case '\t':
			dst = append(dst, 't')
		case '\v':
			dst = append(dst, 'v')
		default:
			dst = append(dst, 'x', hexDigits[b>>4], hexDigits[b&15])
		}
	}
	return append(dst, text[start:]...)
}
