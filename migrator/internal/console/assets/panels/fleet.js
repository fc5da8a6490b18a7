// fleet shows which proxy runs which map.

import { el, setText, table, clock } from "../dom.js";

export function fleet() {
  const empty = el("p", { class: "empty" }, "Nothing is known yet.");
  const proxies = table("Proxies", [
    { name: "proxy", text: (p) => p.proxy },
    { name: "version", text: (p) => p.version },
    { name: "state", text: (p) => p.state === "behind" ? `behind by ${p.behind}` : p.state, kind: (p) => ({ current: "good", behind: "warn" })[p.state] ?? "bad" },
    { name: "since", text: (p) => p.since ? clock(p.since) : "" },
    { name: "refused", text: (p) => p.refused ? `${p.refused}: ${p.reason ?? ""}` : "" },
  ]);
  proxies.element.hidden = true;
  return {
    name: "fleet", title: "Proxies, and the map they run", needs: "fleet",
    element: el("div", {}, empty, el("div", { class: "tall", tabindex: 0, role: "region", "aria-label": "Table of proxies" }, proxies.element)),
    told: {
      fleet(value) {
        if (!value) return;
        setText(empty, value.error ? "The newest map cannot be read: " + value.error : value.proxies.length ? "" : "No live proxy.");
        proxies.element.hidden = !value.proxies.length;
        // What is not as it should be comes first.
        proxies.update([...value.proxies].sort((a, b) => (a.state === "current") - (b.state === "current")), (p) => p.proxy);
      },
    },
  };
}
