// grid shows every bucket: its datacenter by colour, and what is being done with
// it by another. A map of a million buckets is two typed arrays and an image of
// one pixel a cell; a change touches the cells that changed, once a frame.

import { el, setText, table, swatch, color, count } from "../dom.js";
import { board } from "./board.js";

// What may be the matter with a bucket, the later the more urgent.
const states = ["", "copying", "soaking", "aborting", "held", "frozen"];
const stateOf = {
  planned: 1, copying: 1, tailing: 1, verifying: 1, returning: 1, replicating: 1, catching_up: 1, reversing: 2,
  soaking: 2, aborting: 3, holding: 4, freezing: 5, switching: 5, publishing: 5,
};
// waitingMax is as many changes as the server keeps.
const waitingMax = 255;
const bare = { copying: "on its way", soaking: "moved, can go back", aborting: "being given up", held: "held", frozen: "changing home" };

export function grid() {
  const readout = el("p", { role: "status", class: "note", id: "grid-readout" }, "Point at a bucket, or find one by its number.");
  const number = el("input", { id: "grid-find", type: "number", min: 0, step: 1, inputmode: "numeric" });
  const find = el("form", { class: "find" }, el("label", { for: "grid-find" }, "Bucket"), number, el("button", { type: "submit" }, "Find"));
  const legend = el("ul", { class: "legend", "aria-label": "Colours" });
  const shards = table("Shards", [
    { name: "shard", text: (s) => s.name },
    { name: "datacenter", text: (s) => s.datacenter },
    { name: "buckets", text: (s) => count(s.buckets) },
    { name: "epoch", text: (s) => s.epoch },
    { name: "under way", text: (s) => s.busy },
  ]);
  const details = el("details", {}, el("summary", {}, "The same as a table, shard by shard"), el("div", { class: "tall", tabindex: 0, role: "region", "aria-label": "Table of shards" }, shards.element));

  let head = null, version = 0, homes = null, codes = null;
  let loading = false, again = false, waiting = [];
  let moves = [], overlays = [], marked = "";
  const paper = board({ describe, moved: (bucket) => setText(readout, describe(bucket)) });
  const element = el("div", {}, paper.element, el("div", { class: "under" }, legend, find), readout, details);
  find.addEventListener("submit", (e) => {
    e.preventDefault();
    const bucket = Number(number.value);
    if (!homes || !(bucket >= 0 && bucket < homes.length)) return setText(readout, homes ? `The map has buckets 0 to ${count(homes.length - 1)}.` : "The map is not here yet.");
    paper.point(bucket);
    setText(readout, describe(bucket));
  });

  function describe(bucket) {
    if (!homes || !head) return "";
    const shard = head.shards[homes[bucket] - 1];
    const where = shard ? `${shard.name} in ${shard.datacenter}` : "no home";
    const by = overlays.filter((o) => o.move && codeIn(o, bucket)).map((o) => `, ${o.move.state} by ${o.move.move}`);
    const code = codes[bucket];
    return `Bucket ${bucket}: ${where}${by.join("") || (code ? ", " + bare[states[code]] : "")}`;
  }

  const codeIn = (o, bucket) => o.ranges ? o.ranges.some(([first, last]) => first <= bucket && bucket <= last) : homes[bucket] === o.home;

  // The datacenter that is left has the first colour, the one that is gone to the second.
  function hueOf(dc) {
    const order = [head.default.source, head.default.target, ...head.datacenters].filter(Boolean);
    return color("--dc" + ([...new Set(order)].indexOf(dc) % 6));
  }

  function paint() {
    if (!head || !homes) return;
    const fills = ["--none", ...head.shards.map((s) => s.datacenter)].map((x, i) => i === 0 ? color(x) : hueOf(x));
    const marks = states.map((s) => s && color("--" + s));
    paper.show({ homes, codes, fills, marks, version });
    legend.replaceChildren(...head.datacenters.map((dc) => el("li", {}, swatch(hueOf(dc)), dc)),
      ...states.slice(1).map((s) => el("li", {}, swatch(color("--" + s)), bare[s])));
    paper.label(`${count(homes.length)} buckets: ` + head.datacenters.map((dc) =>
      `${count(head.shards.filter((s) => s.datacenter === dc).reduce((n, s) => n + s.buckets, 0))} in ${dc}`).join(", "));
  }

  // mark writes what is under way over the buckets, and takes away what was.
  function mark() {
    if (!head || !homes) return;
    const next = head.holds.map((h) => ({ code: 4, ...(h.shard ? { home: shardNumber(h.shard) } : { ranges: [[h.first, h.last]] }) }));
    for (const m of moves) {
      const code = stateOf[m.state];
      if (code) next.push({ code, move: m, ...(m.kind === "promotion" ? { home: shardNumber(m.shard) } : { ranges: m.ranges ?? [] }) });
    }
    next.sort((a, b) => a.code - b.code);
    const key = JSON.stringify(next.map((o) => [o.code, o.home, o.ranges, o.home && version]));
    if (key !== marked) {
      for (const o of overlays) fill(o, 0);
      for (const o of next) fill(o, o.code);
    }
    marked = key;
    overlays = next;
    const busy = (s) => overlays.filter((o) => o.move && (o.home === shardNumber(s.name) || o.move.from === s.name || o.move.to === s.name)).map((o) => `${o.move.what} ${o.move.state}`);
    shards.update(head.shards.map((s) => ({ ...s, busy: busy(s).slice(0, 5).join("; ") })), (s) => s.name);
  }

  const shardNumber = (name) => head.shards.findIndex((s) => s.name === name) + 1;

  function fill(o, code) {
    if (o.ranges) {
      for (const [first, last] of o.ranges) {
        if (first >= codes.length) continue;
        codes.fill(code, first, last + 1);
        paper.touch(first, Math.min(last, codes.length - 1));
      }
      return;
    }
    for (let b = 0; b < homes.length; b++) if (homes[b] === o.home) codes[b] = code;
    paper.touch(0, homes.length - 1);
  }

  async function load() {
    if (loading) { again = true; return; }
    loading = true;
    let reply = null;
    try {
      do {
        again = false;
        reply = await fetch("/api/grid");
        if (!reply.ok) throw new Error(reply.statusText);
        homes = new Uint16Array(await reply.arrayBuffer());
        version = Number(reply.headers.get("Drover-Map-Version"));
      } while (again);
    } catch {
      setTimeout(load, 2000); // the line of the page says that there is no word
      return;
    } finally {
      loading = false;
    }
    codes = new Uint8Array(homes.length);
    number.max = homes.length - 1;
    overlays = [];
    marked = "";
    mark();
    paint();
    const late = waiting;
    waiting = [];
    late.forEach(change);
  }

  function change(c) {
    if (loading || !homes) { waiting = [...waiting.slice(-waitingMax), c]; return; }
    if (!c.anew && c.to <= version) return;
    if (c.anew || c.from !== version) {
      if (c.to !== version) load();
      return;
    }
    for (const [first, last, home] of c.runs ?? []) {
      homes.fill(home, first, last + 1);
      paper.touch(first, last);
    }
    version = c.to;
    paper.at(version);
  }

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  load();
  return {
    name: "grid", title: "Buckets", wide: true, needs: "map", element,
    told: {
      grid: change,
      map(value) {
        if (!value) return;
        const shape = (h) => JSON.stringify([h?.default, h?.datacenters, h?.shards.map((s) => [s.name, s.datacenter])]);
        const same = shape(head) === shape(value);
        head = value;
        mark();
        if (!same) paint();
        if (homes && !loading && head.version > version) load(); // a change was missed
      },
      moves(value) {
        moves = value?.moves ?? [];
        mark();
      },
    },
  };
}
