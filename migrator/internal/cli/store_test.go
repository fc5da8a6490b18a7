package cli

import (
	"strings"
	"testing"
)

func TestEveryMapCommandWorksOnConsulAndSignaturesAreChecked(t *testing.T) {
	d := newDesktop(t)
	d.keys("sign")
	d.keys("other")
	base := strings.TrimSuffix(consulConfig(t), "}")
	d.configure(base + ", sign_key_file: sign.key, keys: [sign.pub]}")
	d.want(0, initArgs, "map version 1 is published")
	d.want(0, []string{"whitelist", "add", "--to", "cloud", "emp-1", "--why", "a colleague"}, "map version 2")
	d.want(0, []string{"map", "history"}, "a colleague", "tester")
	d.want(0, []string{"map", "diff"}, "+ whitelist emp-1")
	d.want(0, []string{"map", "explain", "emp-1"}, "since version 2", "a colleague")
	d.want(0, []string{"map", "rollback", "1"}, "map version 3")
	d.want(0, []string{"map", "status"}, "map version 3", "no live proxy")
	d.want(0, []string{"status"}, "map version 3")
	next := d.edited("next.yaml", "version: 3\n", "", `alpha: ["0-63"]`, "gamma: [\"0-63\"]")
	d.want(3, []string{"map", "push", next, "--force-homes"}, "max_change")
	d.want(0, []string{"bucket", "move", "17", "--to", "gamma"}, "soaking")

	d.configure(base + ", keys: [other.pub]}")
	d.want(1, []string{"map", "show"}, "sign")
	d.configure(base + ", sign_key_file: sign.pub}")
	d.want(2, []string{"map", "show"}, "sign_key_file")
	d.configure(base + ", keys: [sign.key]}")
	d.want(2, []string{"map", "show"}, "map.keys")
	d.configure("{store: consul, consul: {address: 'ftp://x'}}")
	d.want(2, []string{"map", "show"}, "ftp://x")
}

func TestASingleMoveMayMoveWhatAPersonMayNot(t *testing.T) {
	d := ready(t)
	d.configure("{store: file, dir: map, max_change: 0.001}")
	next := d.edited("next.yaml", "version: 1\n", "", `alpha: ["0-63"]`, "alpha: [\"1-63\"]\n  gamma: [\"0\"]")
	d.unchanged(3, []string{"map", "push", next, "--force-homes"}, "max_change", "1 of 64")
	d.want(0, []string{"bucket", "move", "0-9", "--to", "gamma"}, "soaking")
	if moved := d.load().Moved(); moved != 10 {
		t.Fatalf("%d buckets declared, want 10", moved)
	}
}
