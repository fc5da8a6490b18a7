// moves shows what is under way, each with its passport.

import { el, setText, table, instant, lasting } from "../dom.js";

export function moves() {
  const list = el("div", { class: "tall", tabindex: 0, role: "region", "aria-label": "Moves and promotions under way" });
  const empty = el("p", { class: "empty" }, "Nothing is known yet.");
  const dark = el("p", { class: "stale", role: "alert", hidden: true });
  const shown = new Map();

  function make() {
    const summary = el("summary"), words = el("p", { class: "note" }), next = el("p");
    const visits = table("Passport", [
      { name: "state", text: (v) => v.state, kind: () => "" },
      { name: "entered", text: (v) => instant(v.entered) },
      { name: "took", text: (v) => v.last && v.open ? "until now" : lasting(v.took_seconds) },
      { name: "note", text: (v) => v.note ?? "" },
    ]);
    return { element: el("details", {}, summary, words, visits.element, next), summary, words, next, visits };
  }

  return {
    name: "moves", title: "Under way", needs: "moves", element: el("div", {}, dark, empty, list),
    told: {
      moves(value) {
        if (!value) return;
        setText(empty, value.moves.length ? "" : "Nothing is under way.");
        dark.hidden = value.unreachable.length === 0;
        setText(dark, "There may be more. Not to be asked: " + value.unreachable.map((u) => `${u.shard}: ${u.reason}`).join("; "));
        const ids = new Set(value.moves.map((m) => m.move));
        for (const [id, m] of shown) if (!ids.has(id)) { m.element.remove(); shown.delete(id); }
        for (const m of value.moves) {
          if (!shown.has(m.move)) { shown.set(m.move, make()); list.append(shown.get(m.move).element); }
          const s = shown.get(m.move);
          setText(s.summary, `${m.what}, ${m.from} → ${m.to}: ${m.state}${m.running ? "" : ", no migrator has it"}`);
          setText(s.words, `${m.move}, by ${m.who}${m.why ? ": " + m.why : ""}; run ${m.run}` +
            (m.write_stall_seconds ? `; writes waited ${lasting(m.write_stall_seconds)}` : "") + (m.cut ? `; ${m.cut} older states are not shown` : "") + (m.unmarked ? `; ${m.unmarked} more runs of buckets are not marked` : "") + (m.problem ? `; ${m.problem}` : ""));
          s.visits.update(m.passport.map((v) => ({ ...v, open: m.open })), (v) => v.entered + v.state);
          s.next.replaceChildren(...m.next.flatMap((n) => ["Next: ", el("code", {}, n), " "]));
        }
        if (value.more) setText(empty, `${value.more} more are under way; migrator move list has them all.`);
      },
    },
  };
}
