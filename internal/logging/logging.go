// Package logging makes the one logger of a Drover program.
//
// A program makes its logger once, in main, and passes it down: there is no
// process-wide one. Messages are constant and in lower case, with the words
// of the design as keys. Info: a state changed. Warn: recovered alone. Error:
// somebody must act. Nothing is logged for each request.
//
// The logger may be used by any number of goroutines. This package never
// opens a file: the caller owns the writer.
package logging

import (
	"fmt"
	"io"
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// The formats that New accepts.
const (
	FormatJSON = "json" // one object a line, for machines
	FormatText = "text" // one line, for people
)

// New returns a logger that writes to w every entry of level (debug, info,
// warn or error) or higher. Writes are serialised; w need not be safe for
// concurrent use.
func New(w io.Writer, level, format string) (*zap.Logger, error) {
	min, err := ParseLevel(level)
	if err != nil {
		return nil, err
	}
	keys := zap.NewProductionEncoderConfig()
	keys.TimeKey = "time"
	keys.MessageKey = "message"
	keys.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	keys.EncodeDuration = zapcore.StringDurationEncoder
	var encoder zapcore.Encoder
	switch format {
	case FormatJSON:
		encoder = zapcore.NewJSONEncoder(keys)
	case FormatText:
		encoder = zapcore.NewConsoleEncoder(keys)
	default:
		return nil, fmt.Errorf("log format %q: want %s or %s", format, FormatJSON, FormatText)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), min)), nil
}

// ParseLevel returns the level of that name: debug, info, warn or error.
func ParseLevel(level string) (zapcore.Level, error) {
	switch strings.ToLower(level) {
	case "debug":
		return zapcore.DebugLevel, nil
	case "info":
		return zapcore.InfoLevel, nil
	case "warn":
		return zapcore.WarnLevel, nil
	case "error":
		return zapcore.ErrorLevel, nil
	default:
		return 0, fmt.Errorf("log level %q: want debug, info, warn or error", level)
	}
}
