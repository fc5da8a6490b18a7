// journal shows the newest lines of all journals.

import { el, setText, table, instant } from "../dom.js";

export function journal() {
  const empty = el("p", { class: "empty" }, "Nothing is known yet.");
  const dark = el("p", { class: "stale", role: "alert", hidden: true });
  const lines = table("Journal", [
    { name: "at", text: (e) => instant(e.at) },
    { name: "move", text: (e) => e.move },
    { name: "state", text: (e) => e.state },
    { name: "journal", text: (e) => e.journal },
    { name: "host", text: (e) => e.host },
    { name: "note", text: (e) => e.note ?? "" },
  ]);
  lines.element.hidden = true;
  return {
    name: "journal", title: "Journal", wide: true, needs: "journal",
    element: el("div", {}, dark, empty, el("div", { class: "tall", tabindex: 0, role: "region", "aria-label": "The journal's newest lines" }, lines.element)),
    told: {
      journal(value) {
        if (!value) return;
        setText(empty, value.entries.length ? "" : "Nothing has happened yet.");
        dark.hidden = value.unreachable.length === 0;
        setText(dark, "Lines are missing. Not to be asked: " + value.unreachable.map((u) => `${u.shard}: ${u.reason}`).join("; "));
        lines.element.hidden = !value.entries.length;
        lines.update(value.entries, (e) => e.journal + e.move + e.at + e.state + e.note);
      },
    },
  };
}
