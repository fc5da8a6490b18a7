package file

import (
	"errors"
	"os"
	"strings"
	"testing"

	"drover/bucketmap"
	"drover/bucketmap/storetest"
	"drover/bucketmap/yaml"
)

// handEdit writes map.yaml as an operator does.
func handEdit(t testing.TB, dir string, d *bucketmap.Draft) *bucketmap.Snapshot {
	t.Helper()
	s, err := d.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	data, err := yaml.Encode(s)
	if err != nil {
		t.Fatal(err)
	}
	writeMap(t, dir, "# by hand\n"+string(data))
	return s
}

func writeMap(t testing.TB, dir, text string) {
	t.Helper()
	if err := os.WriteFile(dir+"/"+mapName, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestHandEditGoesIntoTheHistory(t *testing.T) {
	dir := t.TempDir()
	s := quick(t, dir)
	first := storetest.First(t)
	publish(t, s, first)
	d := first.Edit()
	d.Version = 7
	d.Whitelist["by-hand"] = "cloud"
	edited := handEdit(t, dir, d)
	got, err := s.Load(t.Context())
	if err != nil || !got.Equal(edited) {
		t.Fatalf("Load after an edit: %v", err)
	}
	next := with(t, edited, "emp-8")
	publish(t, s, next)
	checkHistory(t, "after an edit", s, first, edited, next)
	records, err := s.History(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(records) != 3 || records[1].Version != 7 || !strings.Contains(records[1].Why, "by hand") {
		t.Errorf("history %+v", records)
	}
}

func TestEditWithoutAHigherVersionIsNotPublishedOver(t *testing.T) {
	dir := t.TempDir()
	s := quick(t, dir)
	first := storetest.First(t)
	second := with(t, first, "emp-2")
	publish(t, s, first)
	publish(t, s, second)

	d := first.Edit() // version 2 with the content of 1
	edited := handEdit(t, dir, d)
	err := s.Publish(t.Context(), with(t, edited, "emp-3"), bucketmap.Change{})
	if !errors.Is(err, ErrEdited) {
		t.Errorf("same version, other content: %v, want ErrEdited", err)
	}
	d.Version = 1 // a backup put back
	edited = handEdit(t, dir, d)
	err = s.Publish(t.Context(), with(t, edited, "emp-3"), bucketmap.Change{})
	if !errors.Is(err, ErrEdited) {
		t.Errorf("lower version: %v, want ErrEdited", err)
	}

	d = second.Edit() // only a comment more
	d.Version = 2
	publish(t, s, with(t, handEdit(t, dir, d), "emp-3"))
}

func TestLostMapIsNotPublishedOver(t *testing.T) {
	dir := t.TempDir()
	s := quick(t, dir)
	first := storetest.First(t)
	publish(t, s, first)
	if err := os.Remove(dir + "/" + mapName); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(t.Context()); !errors.Is(err, ErrMapGone) || errors.Is(err, bucketmap.ErrNoMap) {
		t.Errorf("Load: %v, want ErrMapGone and not ErrNoMap", err)
	}
	if err := s.Publish(t.Context(), first, bucketmap.Change{}); !errors.Is(err, ErrMapGone) {
		t.Errorf("Publish: %v, want ErrMapGone", err)
	}
	writeMap(t, dir, "garbage")
	if err := s.Publish(t.Context(), first, bucketmap.Change{}); err == nil {
		t.Error("published over garbage")
	}
	// The remedy that the error names.
	data, err := os.ReadFile(s.historyPath(1, contentSuffix))
	if err != nil {
		t.Fatal(err)
	}
	writeMap(t, dir, string(data))
	publish(t, s, with(t, first, "emp-2"))
}
