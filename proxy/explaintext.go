package main

import (
	"fmt"
	"strings"
	"time"
)

// text is an explanation for people.
func (e *explanation) text() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-10s"+format+"\n", append([]any{name}, args...)...)
	}
	if r := e.Refused; r != nil {
		line("refused", "%d: %s (%s)", r.Status, r.Why, r.Remedy)
		return b.String()
	}
	line("request", "%s %s, host %q", e.Method, e.Target, e.Host)
	trusted := "not trusted"
	if e.Trusted {
		trusted = "trusted"
	}
	line("peer", "%s, %s", e.Peer, trusted)
	switch id := e.Identity; {
	case id.Error != "":
		line("user", "unusable, by %s: %s", id.Source, id.Error)
	case id.User != "":
		line("user", "%q, by %s", id.User, id.Source)
	case id.Source != "":
		line("user", "not given, a bucket is, by %s", id.Source)
	default:
		line("user", "none")
	}
	if e.Bucket != nil {
		line("bucket", "%d", *e.Bucket)
	}
	d := e.Decision
	home := ""
	switch {
	case d.Shard != "":
		home = fmt.Sprintf("; the bucket's home is shard %s, epoch %d", d.Shard, d.Epoch)
	case e.Bucket != nil:
		home = "; the bucket has no home"
	}
	line("decision", "%s, by %s%s; map %d", d.Datacenter, d.Reason, home, d.MapVersion)
	if e.Hold != nil {
		line("hold", "waits for move %s, until %s at most", e.Hold.Move, e.Hold.Until.Format(time.RFC3339Nano))
	}
	for i, u := range e.Upstreams {
		name := "upstreams"
		if i > 0 {
			name = "failover"
		}
		line(name, "%s: %s", u.Datacenter, strings.Join(u.Servers, ", "))
	}
	b.WriteString("head\n\n" + strings.ReplaceAll(e.Head, "\r\n", "\n"))
	return b.String()
}
