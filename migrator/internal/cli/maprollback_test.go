package cli

import (
	"slices"
	"strings"
	"testing"
)

func TestRollbackTakesNoHomeThatTheDatabasesHaveAndBringsNoHoldBack(t *testing.T) {
	d := newDesktop(t)
	first := slices.Clone(initArgs)
	first[slices.Index(first, "alpha=0-63")] = "alpha=0-59"
	d.want(0, first)
	d.want(0, []string{"map", "push", d.edited("held.yaml", "version: 1\n", "holds:\n  - {buckets: \"8\", move: m-1, until: 2126-11-21T10:00:00.000Z}\n")})
	// The rest gets its rows and its home.
	d.exec(d.alpha, "INSERT INTO drover_fence SELECT 60, state, epoch, move_id, server_id FROM drover_fence WHERE bucket = 59")
	text := d.want(0, []string{"map", "show"}).out
	text = text[:strings.Index(text, "holds:")]
	text = strings.NewReplacer("version: 2\n", "", "0-59", "0-60").Replace(text)
	if r := d.runWith(text, "map", "push", "-"); r.code != 0 {
		t.Fatal(r)
	}
	d.unchanged(3, []string{"map", "rollback", "2"}, "home-lost on alpha", "60", "--force-homes")
	d.want(0, []string{"map", "rollback", "2", "--force-homes"}, "map version 4")
	if text := d.want(0, []string{"map", "show"}).out; strings.Contains(text, "holds") {
		t.Errorf("the hold of version 2 is back:\n%s", text)
	}
	d.want(0, []string{"map", "rollback", "3"}, "+ home 60", "map version 5")
}

func TestRollbackIsBoundByMaxChangeToo(t *testing.T) {
	d := ready(t)
	d.want(0, []string{"map", "push", d.edited("next.yaml", "version: 1\n", "", `alpha: ["0-63"]`, "gamma: [\"0-63\"]"), "--force", "--allow-change", "1"})
	d.unchanged(3, []string{"map", "rollback", "1"}, "max_change", "64 of 64", "--allow-change 1")
	d.want(0, []string{"map", "rollback", "1", "--allow-change", "1", "--wait", "1s"}, "map version 3", "every live proxy runs version 3")
}
