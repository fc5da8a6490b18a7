// tracers shows how the synthetic users fare who are sent through every proxy: what
// is not right comes first, and what nobody looks at is said.

import { el, setText, table, keyed, region, sentence, count, clock } from "../dom.js";

const proxiesMax = 100;
const recentMax = 20;

const order = ["right", "late", "misrouted", "stale", "wrong", "duplicated", "lost", "error"];
const bad = (p) => p.requests - (p.outcomes.right ?? 0);
const outcomes = (p) => order.filter((o) => p.outcomes[o]).map((o) => `${o} ${count(p.outcomes[o])}`).join(", ") || "nothing went through";
const place = (p) => p?.datacenter ? p.datacenter + (p.shard ? ", " + p.shard : "") : "not known";

function told(r) {
  if (!r) return "";
  return `${r.outcome}: ${r.why || `${r.kind} of ${r.user} landed in ${place(r.served)}, expected ${place(r.expected)}`} (${clock(r.at)})`;
}

export function tracers() {
  const words = el("p", { role: "status", class: "state", id: "tracers-words" }), off = el("p", { class: "empty" });
  const error = el("p", { class: "stale", role: "alert", hidden: true });
  const missing = el("ul", { class: "plain" });
  const untraced = keyed(missing, () => {
    const element = el("li", { class: "state warn" });
    return { element, update: (text) => setText(element, text) };
  });
  const proxies = table("Tracers by proxy", [
    { name: "proxy", tight: true, text: (p) => p.proxy },
    { name: "outcomes", text: outcomes, kind: (p) => p.requests === 0 ? "warn" : bad(p) ? "bad" : "good" },
    { name: "map", text: (p) => p.version || "not known" },
    { name: "mean, slowest", tight: true, text: (p) => p.requests ? `${p.mean_ms.toFixed(1)} ms, ${p.slowest_ms.toFixed(1)} ms` : "" },
    { name: "last right", tight: true, text: (p) => p.last_right ? clock(p.last_right) : "never" },
    { name: "last not right", text: (p) => told(p.last) },
  ]);
  const recent = table("Results that were not right", [
    { name: "at", tight: true, text: (r) => clock(r.at) },
    { name: "proxy", tight: true, text: (r) => r.proxy },
    { name: "outcome", text: (r) => r.outcome, kind: () => "bad" },
    { name: "request", text: (r) => `${r.kind} of ${r.user}, bucket ${r.bucket}` },
    { name: "served by", text: (r) => place(r.served) },
    { name: "expected", text: (r) => place(r.expected) },
    { name: "why", text: (r) => r.why ?? "" },
  ]);
  const more = el("p", { class: "note" });
  const details = el("details", { hidden: true }, el("summary", {}, `The newest results that were not right, ${recentMax} at most`), region("Results that were not right", recent.element));
  const body = el("div", { hidden: true }, words, error, missing, region("Table of tracers by proxy", proxies.element), more, details);

  return {
    name: "tracers", title: "Tracers", wide: true, needs: "tracers", element: el("div", {}, off, body),
    told: {
      tracers(s) {
        if (!s) return;
        body.hidden = s.off !== undefined;
        setText(off, s.off === undefined ? "" : sentence(s.off));
        if (body.hidden) return;
        const sent = s.proxies.reduce((n, p) => n + p.requests, 0), wrong = s.proxies.reduce((n, p) => n + bad(p), 0);
        const dark = (s.untraced ?? []).length + s.proxies.filter((p) => !p.requests).length;
        setText(words, `${count(sent)} requests of ${count(s.users.length + (s.users_more ?? 0))} tracers through ${count(s.proxies.length)} proxies: ` +
          (wrong ? `${count(wrong)} were not right.` : sent ? "all were right." : "nothing is known yet.") + (dark ? ` ${count(dark)} places are not looked at.` : ""));
        words.className = "state " + (wrong ? "bad" : dark || !sent ? "warn" : "good");
        error.hidden = !s.error;
        setText(error, s.error ? "What should be is not known: " + s.error : "");
        untraced([...(s.untraced ?? []), ...(s.empty ?? []).map((dc) => `datacenter ${dc}: no bucket lives there, and no tracer goes there`)].slice(0, proxiesMax), (text) => text);
        proxies.update([...s.proxies].sort((a, b) => bad(b) - bad(a)).slice(0, proxiesMax), (p) => p.proxy);
        setText(more, s.proxies.length > proxiesMax ? `${s.proxies.length - proxiesMax} more proxies are not shown.` : "");
        details.hidden = !s.recent?.length;
        recent.update((s.recent ?? []).slice(0, recentMax), (r) => r.id + r.at);
      },
    },
  };
}
