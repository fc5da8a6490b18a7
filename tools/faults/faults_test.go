package faults

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"drover/bucketmap"
	"drover/bucketmap/binary"
	"drover/bucketmap/push"
	"drover/tools/testservers"
)

var update = flag.Bool("update", false, "write docs/bad-maps.md anew")

// fault is one row.
type fault struct {
	name   string
	store  string // file, consul or push
	signed bool   // the proxy has a key
	denied bool   // the proxy runs as a user to whom something can be denied

	// content is the bad map. It takes the place of map.yaml, or is pushed.
	content func(w *world) []byte
	kind    string // content type, of what is pushed
	// breaks, instead, is what happens while the proxy runs, and asleep what
	// happens while it does not. mend is what an operator does about both.
	breaks, asleep, mend func(w *world)
	own                  func(w *world) *testservers.Consul // a server for this one alone

	// quiet says that a running proxy says nothing, and quietStart that one that
	// starts does not. They only make the watching shorter.
	quiet, quietStart bool
	// blank says that there is no map anywhere: requests cannot be routed.
	blank bool
}

// row is what was observed.
type row struct{ publishing, running, starting string }

const none = "–"

// section is a table of the page.
type section struct {
	title, text string
	faults      []fault
}

func TestTheEdgeGoesOnWithItsLastGoodMapWhateverComes(t *testing.T) {
	all := sections()
	rows, known := make([][]row, len(all)), readPage(t, all)
	t.Run("fault", func(t *testing.T) {
		for i, s := range all {
			rows[i] = make([]row, len(s.faults))
			for j := range s.faults {
				t.Run(s.faults[j].name, func(t *testing.T) {
					t.Parallel()
					rows[i][j] = try(t, &s.faults[j], known[i][j])
				})
			}
		}
	})
	if t.Failed() {
		return // what was observed is not worth keeping
	}
	comparePage(t, all, rows)
}

// try is the five steps of the package's comment. known is what the page says,
// where it says something.
func try(t *testing.T, f *fault, known row) row {
	w := newWorld(t, f)
	w.known = known
	w.start()
	if f.store == "push" {
		if status := w.send(binary.Append(nil, w.maps[good], w.sign), push.ContentTypeMap); status != http.StatusOK {
			t.Fatalf("the good map is refused with status %d", status)
		}
	}
	w.edge.await(good)
	if !w.keep(good) {
		t.Fatalf("the good map is not kept\n%s", w.edge.text())
	}
	w.answersRightly(good)

	got, took := row{none, none, none}, false
	if f.content != nil || f.breaks != nil {
		end := w.traffic()
		now := w.suffer(f.quiet)
		end()
		w.answersRightly(now.Version)
		got.running = running(now)
		took = now.Version != good
		if took && !w.keep(bucketmap.Version(now.Version)) {
			got.running += "; cannot write its cache"
		}
	}
	w.edge.kill()
	if f.asleep != nil {
		f.asleep(w)
	}
	got.starting = w.startAgain(f.quietStart || took)
	got.publishing = w.publishing()
	w.recover()
	w.edge.kill()
	return got
}

// suffer lets the fault come and returns what the proxy says of it.
func (w *world) suffer(quiet bool) state {
	w.Helper()
	before := w.edge.state()
	switch f := w.fault; {
	case f.content == nil:
		f.breaks(w)
	case f.store == "push":
		if status := w.send(f.content(w), f.kind); status < 400 || status >= 500 {
			w.Errorf("what was pushed got status %d", status)
		}
	default:
		w.replace(w.mapFile(), f.content(w))
	}
	limit := reactMax
	if quiet {
		limit = quietMax
	}
	now := w.edge.react(before, limit, w.known.running)
	if now.Refused.Rule != "" && !strings.Contains(now.Refused.Reason, "; ") {
		w.Errorf("a refusal without a remedy: %s", now.Refused.Reason)
	}
	return now
}

// replace puts a file in the place of another, as an editor does.
func (w *world) replace(path string, content []byte) {
	w.Helper()
	must(w, os.WriteFile(path+"~", content, 0o644))
	must(w, os.Rename(path+"~", path))
}

// running is the cell of a proxy that runs.
func running(s state) string {
	switch {
	case s.Version != good:
		return fmt.Sprintf("takes it: %d", s.Version)
	case s.Refused.Rule != "":
		return fmt.Sprintf("refuses: `%s`; goes on with %d", s.Refused.Rule, s.Version)
	case s.StoreError != "":
		return fmt.Sprintf("cannot read the store; goes on with %d", s.Version)
	default:
		return fmt.Sprintf("sees nothing; goes on with %d", s.Version)
	}
}

// startAgain starts a proxy in the fault and returns its cell.
func (w *world) startAgain(quiet bool) string {
	w.Helper()
	f := w.fault
	w.start()
	limit := reactMax
	if quiet {
		limit = quietMax
	}
	before := w.edge.state()
	now := before
	if before.Refused.Rule == "" && before.StoreError == "" {
		now = w.edge.react(before, limit, w.known.starting)
	}
	if f.store == "push" && f.content != nil {
		now = w.suffer(f.quiet)
	}
	text := fmt.Sprintf("starts with %d", now.Version)
	switch {
	case now.Version == 0:
		text = "has no map: not ready, answers 503"
		w.answersNobody()
	case now.Refused.Rule != "":
		text += fmt.Sprintf(" from its cache; refuses: `%s`", now.Refused.Rule)
	case now.StoreError != "":
		text += " from its cache; cannot read the store"
	case w.edge.cacheErrors():
		text += " from the store; cannot use its cache"
	case f.store == "push":
		text += " from its cache"
	case f.asleep != nil:
		text += " from the store"
	}
	if (now.Version == 0) != f.blank {
		w.Errorf("the proxy starts with version %d\n%s", now.Version, w.edge.text())
	}
	if now.Version != 0 {
		w.answersRightly(now.Version)
	}
	return text
}

// answersNobody wants every request refused, and said to be for now only.
func (w *world) answersNobody() {
	w.Helper()
	for user := range users {
		if status, body, err := w.edge.ask(user); err != nil || status != http.StatusServiceUnavailable {
			w.Errorf("user %q: %d %q %v, want 503", user, status, body, err)
		}
	}
	if ready := w.edge.adminGet("/readyz"); !strings.Contains(ready, "no map") {
		w.Errorf("ready: %s", ready)
	}
}

// publishing is the cell of the operator. A bad map is pushed to a good store,
// a good one to a bad store.
func (w *world) publishing() string {
	w.Helper()
	f := w.fault
	if f.content == nil {
		if f.breaks == nil || f.store == "push" {
			return none
		}
		next := bucketmap.Version(good + 1)
		if w.full {
			next++
		}
		return w.push("migrator.yaml", []byte(w.text(next)))
	}
	w.write("aside.yaml", strings.Replace(w.migratorConfig(), "dir: map}", "dir: aside}", 1))
	w.publishAside(w.path("aside"))
	return w.push("aside.yaml", f.content(w))
}

// recover mends the fault and publishes a good map, which must come into force.
func (w *world) recover() {
	w.Helper()
	f := w.fault
	if f.mend != nil {
		w.full = false
		f.mend(w)
	}
	switch {
	case f.store == "push":
		if status := w.send(binary.Append(nil, w.maps[good+1], w.sign), push.ContentTypeMap); status != http.StatusOK {
			w.Fatalf("the good map is refused with status %d", status)
		}
		w.edge.await(good + 1)
		w.answersRightly(good + 1)
		return
	case f.content != nil && w.edge.state().Version == good:
		w.replace(w.mapFile(), []byte(w.text(good)))
	}
	w.publishNext()
}

func (w *world) publishNext() {
	w.Helper()
	var now *bucketmap.Snapshot
	w.store(func(s bucketmap.Store) {
		var err error
		now, err = bucketmap.Update(w.Context(), s, bucketmap.Change{Who: "test", Why: "mended"}, func(d *bucketmap.Draft) error {
			d.Whitelist["again"] = "cloud"
			return nil
		})
		must(w, err)
	})
	w.edge.await(uint64(now.Version()))
	w.answersRightly(uint64(now.Version()))
}
