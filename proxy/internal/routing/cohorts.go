package routing

import (
	"errors"
	"io/fs"

	"go.uber.org/zap"

	"drover/bucketmap"
	"drover/bucketmap/file/regular"
	"drover/proxy/internal/routing/cohort"
)

// cohortsSuffix is behind the path of the last good map: who was just moved is
// kept there. It is written before the map, so that after a crash it covers that
// map: it may know of later moves, and those are marked again by the next map.
const cohortsSuffix = ".cohorts"

// changeCohorts needs the turn. It comes before next is in force, so that no
// request of a user who is moved counts as stayed.
func (t *Table) changeCohorts(old *force, next *bucketmap.Snapshot) {
	if t.options.Cohorts == nil {
		return
	}
	var from *bucketmap.Snapshot
	if old != nil {
		from = old.snapshot
	}
	t.options.Cohorts.Change(from, next, t.users)
	t.reportCohorts()
}

// settleCohorts needs the turn.
func (t *Table) settleCohorts() {
	if t.options.Cohorts != nil {
		t.options.Cohorts.Settle(t.Current())
	}
}

// compareUsers needs listing.
func (t *Table) compareUsers(users *bucketmap.Whitelist) cohort.Listed {
	if t.options.Cohorts == nil || t.Current() == nil {
		return cohort.Listed{} // the first map takes them as they are
	}
	return t.options.Cohorts.Compare(t.users, users)
}

// listCohorts needs the turn.
func (t *Table) listCohorts(m *bucketmap.Snapshot, listed cohort.Listed) {
	if t.options.Cohorts != nil && t.options.Cohorts.List(m, listed) {
		t.reportCohorts()
		t.saves.put(m)
	}
}

func (t *Table) reportCohorts() {
	const ms = 1e3
	t.options.Metrics.CohortKnown.Set(float64(t.options.Cohorts.Known().UnixMilli()) / ms)
}

// restoreCohorts takes up what the process before kept with its last good map.
// It needs the turn.
func (t *Table) restoreCohorts(cached *bucketmap.Snapshot) {
	if t.options.Cohorts == nil {
		return
	}
	path := t.options.Cache + cohortsSuffix
	data, err := regular.Read(path, cohort.BytesMax)
	if err == nil {
		err = t.options.Cohorts.Restore(data, cached, t.users)
	}
	if err == nil {
		return
	}
	if !errors.Is(err, fs.ErrNotExist) {
		t.options.Log.Warn("who was just moved is not known from before; see drover_proxy_cohort_known_since_timestamp_seconds",
			zap.String("path", path), zap.Error(err))
	}
	t.unkept = true
}

// saveUnkept is for a start without the file, so that the next process knows what
// this one does even when no map comes. The map is not written with it: another
// process, that this one replaces, may have kept a newer one.
func (t *Table) saveUnkept() {
	if t.unkept {
		t.saveCohorts()
	}
}

// saveCohorts comes before the map is written. When it fails, the file does not
// cover that map, and the next process says so.
func (t *Table) saveCohorts() {
	if t.options.Cohorts == nil {
		return
	}
	path := t.options.Cache + cohortsSuffix
	if err := writeFile(path, t.options.Cohorts.Append(nil)); err != nil {
		t.options.Log.Warn("the proxy's next start will not know who was just moved", zap.String("path", path), zap.Error(err))
	}
}
