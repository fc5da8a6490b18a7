// waves shows the plan as it is carried out: every wave with its gate, and of its
// steps those of which something is to be said. The others are counted: 200 shards
// are not 200 rows.

import { el, setText, table, keyed, region, count, clock, spans, percent } from "../dom.js";

const stepsMax = 12; // shown whole; of more, the ends and what stirs
const endsMax = 3;
const stirringMax = 12;
const wavesMax = 16;

const marks = { waiting: "○", running: "▶", moving: "▶", baking: "◐", passed: "✔", done: "✔", failed: "✖", skipped: "–", returning: "◀", returned: "↩" };
const kinds = { passed: "good", done: "good", failed: "bad", returning: "warn", returned: "warn" };
const urgent = ["failed", "returning", "running", "moving", "baking", "returned"];

// folded are the items that are shown, in their order; { gap, first, counts } in
// the place of those that are not.
export function folded(items, most) {
  const keep = new Set(items.keys());
  if (items.length > most) {
    keep.clear();
    for (let i = 0; i < endsMax; i++) keep.add(i).add(items.length - 1 - i);
    const stirring = [...items.keys()].filter((i) => urgent.includes(items[i].state));
    stirring.sort((a, b) => urgent.indexOf(items[a].state) - urgent.indexOf(items[b].state) || a - b);
    for (const i of stirring.slice(0, stirringMax)) keep.add(i);
  }
  const out = [];
  for (const [i, item] of items.entries()) {
    if (keep.has(i)) { out.push(item); continue; }
    if (!out.at(-1)?.gap) out.push({ gap: true, first: i, counts: new Map() });
    const counts = out.at(-1).counts;
    counts.set(item.state, (counts.get(item.state) ?? 0) + 1);
  }
  return out;
}

const gapWords = (g) => [...g.counts.values()].reduce((n, m) => n + m, 0) + " more: " + [...g.counts].map(([state, n]) => `${n} ${state}`).join(", ");
const sign = (state) => (marks[state] ?? "?") + " " + state;

// stepsOf are the rows of a wave. What the server has left out is counted before
// the last ones.
function stepsOf(w) {
  const rows = folded(w.steps, stepsMax);
  if (!w.steps_more) return rows;
  const counts = new Map(Object.entries(w.states));
  for (const t of w.steps) counts.set(t.state, counts.get(t.state) - 1);
  for (const [state, n] of counts) if (n <= 0) counts.delete(state);
  rows.splice(Math.max(0, rows.length - endsMax), 0, { gap: true, first: -1, counts });
  return rows;
}

function gateWords(gate) {
  const asked = gate.objectives?.length ? gate.objectives.join(", ") : "all objectives";
  const parity = gate.parity === undefined || gate.parity === null ? "" : `; at most ${percent(gate.parity)} of mirrored answers may differ`;
  return `Gate: bakes for ${spans(gate.bake)}; ${asked}${parity}.`;
}

function wave(first) {
  const mark = el("span", { class: "state" }), words = el("span"), gate = el("p", { class: "note" });
  const steps = table("Steps of " + first.name, [
    { name: "step", tight: true, text: (t) => t.gap ? "…" : t.step },
    { name: "state", tight: true, text: (t) => t.gap ? "" : sign(t.state), kind: (t) => kinds[t.state] ?? "" },
    { name: "users", tight: true, text: (t) => t.gap ? "" : count(t.users) },
    { name: "moved", tight: true, text: (t) => t.moved ? clock(t.moved).slice(11) : "" },
    { name: "note", text: (t) => t.gap ? gapWords(t) : (t.error ? t.error + "; " : "") + t.what + (t.tries > 1 ? `; try ${t.tries}` : "") },
  ]);
  const element = el("details", {}, el("summary", {}, mark, " ", words), gate, steps.element);
  // What stirs is open, and closed again after that, until somebody opens or closes
  // it by hand.
  let now = first, meant = false, touched = false;
  const fill = () => { if (element.open) steps.update(stepsOf(now), (t) => t.gap ? "gap " + t.first : t.step); };
  element.addEventListener("toggle", () => {
    touched = touched || element.open !== meant;
    fill();
  });
  return {
    element,
    update(w) {
      now = w;
      const number = w.steps.length + (w.steps_more ?? 0);
      setText(mark, sign(w.state));
      mark.className = "state " + (kinds[w.state] ?? "");
      setText(words, `${w.name}: ${number === 1 ? "1 step" : count(number) + " steps"}, ${count(w.users.moved)} of ${count(w.users.all)} users`);
      setText(gate, gateWords(w.gate));
      if (!touched && meant !== urgent.includes(w.state)) element.open = meant = !meant;
      fill();
    },
  };
}

function gap() {
  const element = el("p", { class: "note" });
  return { element, update: (g) => setText(element, "… " + gapWords(g)) };
}

export function waves() {
  const list = el("div");
  const update = keyed(list, (w) => w.gap ? gap() : wave(w));
  return {
    name: "waves", title: "Waves", needs: "campaign", absent: (s) => s === null, element: region("Waves and their steps", list),
    told: {
      campaign(s) {
        if (s) update(folded(s.waves, wavesMax), (w) => w.gap ? "gap " + w.first : s.campaign + " " + w.name);
      },
    },
  };
}
