// summary is the line of figures on top.

import { el, setText, count } from "../dom.js";

export function summary() {
  const list = el("dl", { class: "tiles" });
  const tiles = new Map();
  const put = (name, value, small = "") => {
    let tile = tiles.get(name);
    if (!tile) {
      tile = { value: document.createTextNode(""), small: el("small") };
      list.append(el("div", {}, el("dt", {}, name), el("dd", {}, tile.value, " ", tile.small)));
      tiles.set(name, tile);
    }
    if (tile.value.data !== value) tile.value.data = value;
    setText(tile.small, small);
  };
  put("map version", "…");
  return {
    name: "summary", title: "Now", wide: true, needs: "map", element: list,
    told: {
      map(head) {
        if (!head) return;
        put("map version", count(head.version));
        for (const dc of head.datacenters) {
          const n = head.shards.filter((s) => s.datacenter === dc).reduce((sum, s) => sum + s.buckets, 0);
          put("buckets in " + dc, count(n), (100 * n / head.buckets).toFixed(n === head.buckets ? 0 : 2) + " %");
        }
        if (head.homeless) put("buckets with no home", count(head.homeless));
        put("default", head.default.datacenter, head.default.auto ? "by the users" : "pinned");
        put("on the whitelist", count(head.whitelisted));
      },
      fleet(f, error) {
        if (!f) return;
        const current = f.proxies.filter((p) => p.state === "current").length;
        put("proxies up to date", error ? "?" : `${current} of ${f.proxies.length}`);
      },
      moves(m, error) {
        if (!m) return;
        const known = !error && m.unreachable.length === 0;
        put("under way", known ? count(m.moves.length + (m.more ?? 0)) : "?", known ? "" : "not every journal could be read");
      },
    },
  };
}
