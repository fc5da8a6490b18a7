package cli

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"drover/migrator/internal/doctor"
)

// found runs the doctor and returns its findings, without what the world lacks.
func (w *shardWorld) found() []*doctor.Finding {
	w.t.Helper()
	_, out, errOut := w.run("doctor", "--again", "1ms", "-o", "json")
	var report doctor.Report
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		w.t.Fatalf("%v: %s%s", err, out, errOut)
	}
	if len(report.Unseen) != 0 {
		w.t.Fatalf("it did not see %v", report.Unseen)
	}
	return slices.DeleteFunc(report.Findings, func(f *doctor.Finding) bool { return f.Kind == doctor.TablesMissing })
}

// Transactions that the lost primary had not sent, and its return with them:
// what the doctor says is done, and then all is well.
func TestTheDoctorRebuildsAPrimaryThatComesBackAfterAFailoverAsAReplica(t *testing.T) {
	t.Parallel() // it has servers of its own
	w := newShardWorld(t)
	ctx := t.Context()
	must(t, w.from.Exec(ctx, "CREATE TABLE app.doc (id INT PRIMARY KEY, bucket INT)"))
	w.ready()
	must(t, w.to.Exec(ctx, "STOP SLAVE IO_THREAD"))
	must(t, w.from.Exec(ctx, "INSERT INTO app.doc VALUES (1, 1)")) // acknowledged and never sent
	must(t, w.from.Kill())
	if code, out, errOut := w.run("shard", "promote", "alpha", "--to", "cloud", "--lost", "--yes", "alpha"); code != 0 {
		t.Fatalf("exit %d: %s%s", code, out, errOut)
	}
	must(t, w.from.Restart(ctx))
	if code, _, errOut := w.run("resume"); code == 0 || !strings.Contains(errOut, "0-") {
		t.Errorf("resume: exit %d, want the transactions that are there alone: %s", code, errOut)
	}
	must(t, w.from.Exec(ctx, "SET GLOBAL read_only = 0")) // somebody restarts it once more

	findings := w.found()
	var writable, errant *doctor.Finding
	for _, f := range findings {
		switch f.Kind {
		case doctor.OldPrimaryWritable:
			writable = f
		case doctor.ReplicaErrant:
			errant = f
		case doctor.MoveStalled:
		default:
			t.Errorf("it finds %s: %s", f.Kind, f.Says)
		}
	}
	if writable == nil || writable.Severity != doctor.Danger || errant == nil || errant.Severity != doctor.Danger || len(findings) != 3 {
		text, _ := json.MarshalIndent(findings, "", "  ")
		t.Fatalf("it finds %s", text)
	}
	for _, s := range writable.SQL {
		must(t, w.from.Exec(ctx, s.Statement))
	}
	if left := w.found(); slices.ContainsFunc(left, func(f *doctor.Finding) bool { return f.Kind == doctor.OldPrimaryWritable }) {
		t.Error("it is read-only, and the doctor calls it writable")
	}
	// What the finding about the transactions says, in its order.
	if !strings.HasPrefix(errant.Decide, "First end the promotion without it: migrator shard finish alpha. ") ||
		!strings.HasSuffix(errant.Decide, "migrator shard replicate alpha --to legacy.") {
		t.Errorf("to decide: %s", errant.Decide)
	}
	if code, _, errOut := w.run("shard", "finish", "alpha"); code != 0 {
		t.Fatalf("finish: exit %d: %s", code, errOut)
	}
	for _, s := range errant.SQL {
		if !strings.HasPrefix(s.Server, "alpha@legacy ") {
			t.Fatalf("a statement for %s", s.Server)
		}
		must(t, w.from.Exec(ctx, s.Statement))
	}
	if code, out, errOut := w.run("shard", "replicate", "alpha", "--to", "legacy"); code != 0 {
		t.Fatalf("replicate: exit %d: %s%s", code, out, errOut)
	}
	if left := w.found(); len(left) != 0 {
		text, _ := json.MarshalIndent(left, "", "  ")
		t.Errorf("it still finds %s", text)
	}
}
