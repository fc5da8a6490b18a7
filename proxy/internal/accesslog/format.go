package accesslog

import (
	"fmt"

	"drover/proxy/internal/passport"
)

// Format is what a line looks like, and which requests leave one.
type Format string

// The formats.
const (
	// FormatPassport is one JSON object for each request that was slow, failed
	// or sampled.
	FormatPassport Format = "passport"
	// FormatJSON is the same object for every request, with the client's
	// address, user agent and referer.
	FormatJSON Format = "json"
	// FormatCommon is NCSA's common format, for every request.
	FormatCommon Format = "common"
	// FormatCombined is common with referer and user agent.
	FormatCombined Format = "combined"
)

// Formats lists every format.
func Formats() []Format { return []Format{FormatPassport, FormatJSON, FormatCommon, FormatCombined} }

// ParseFormat returns the format of that name; empty is passport.
func ParseFormat(name string) (Format, error) {
	if name == "" {
		return FormatPassport, nil
	}
	for _, f := range Formats() {
		if string(f) == name {
			return f, nil
		}
	}
	return "", fmt.Errorf("%q is no format of the access log: want one of %v", name, Formats())
}

// Configure tells an office to write here. It sets Out, Format, Every and
// Headers, and leaves the rest.
func (l *Log) Configure(o *passport.Options) {
	if l == nil {
		o.Out = nil
		return
	}
	o.Out = l
	o.Every = l.format != FormatPassport
	switch l.format {
	case FormatJSON:
		o.Format, o.Headers = passport.AppendLineWithClient, true
	case FormatCombined:
		o.Format, o.Headers = AppendCombined, true
	case FormatCommon:
		o.Format, o.Headers = AppendCommon, false
	case FormatPassport:
		o.Format, o.Headers = passport.AppendLine, false
	}
}
