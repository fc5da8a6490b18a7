package logging

import (
	"bytes"
	"encoding/json"
	"testing"

	"go.uber.org/zap"
)

func TestEntriesBelowTheLevelAreNotWritten(t *testing.T) {
	var out bytes.Buffer
	log, err := New(&out, "warn", FormatJSON)
	if err != nil {
		t.Fatal(err)
	}
	log.Info("quiet")
	log.Warn("loud", zap.String("bucket", "7"))
	var entry map[string]any
	if err := json.Unmarshal(out.Bytes(), &entry); err != nil {
		t.Fatalf("want one JSON line, got %q: %v", out.String(), err)
	}
	if entry["message"] != "loud" || entry["bucket"] != "7" || entry["level"] != "warn" || entry["time"] == nil {
		t.Fatalf("got %v", entry)
	}
}

func TestUnknownLevelAndFormatAreErrors(t *testing.T) {
	if _, err := New(&bytes.Buffer{}, "loud", FormatJSON); err == nil {
		t.Error("level loud: want an error")
	}
	if _, err := New(&bytes.Buffer{}, "info", "xml"); err == nil {
		t.Error("format xml: want an error")
	}
	if _, err := New(&bytes.Buffer{}, "info", FormatText); err != nil {
		t.Error(err)
	}
}
