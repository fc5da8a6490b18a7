package promotions

import (
	"fmt"
	"time"
)

// hookCases are programs of the operator's that fail or hang.
func hookCases() []faultCase {
	var cases []faultCase
	for _, how := range []struct{ name, script string }{
		{"fails", "exit 3"},
		{"hangs", "exec sleep 600"},
	} {
		for _, at := range []string{"before_freeze", "before_commit", "after_commit", "after_promote", "after_reverse", "after_abort"} {
			cases = append(cases, faultCase{name: fmt.Sprintf("the hook `%s` %s", at, how.name), slow: how.name == "hangs", run: func(x *trial) {
				// When it is only checked, all is well.
				hooks := []string{hook(at, `if grep -q '"check":true'; then exit 0; fi; `+how.script)}
				if at == "after_abort" {
					hooks = append(hooks, hook("before_commit", `if grep -q '"check":true'; then exit 0; fi; exit 4`))
				}
				x.w.configure(settings{hooks: hooks})
				x.promote("")
				_ = x.ended() // whatever it is
			}})
		}
	}
	return append(cases, faultCase{name: "a hook that fails its check", run: func(x *trial) {
		x.w.configure(settings{hooks: []string{hook("before_freeze", "exit 1")}})
		x.refused("hooks")
	}})
}

// hookTimeout is what a hook may take here.
const hookTimeout = time.Second

func hook(at, script string) string {
	return fmt.Sprintf("{at: %s, timeout: %s, run: [sh, -c, %q]}", at, hookTimeout, script)
}
