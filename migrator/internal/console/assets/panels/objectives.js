// objectives shows the verdict in words, and for every objective how the cohorts of
// each datacenter fare: the share of bad requests against what may be bad, and how
// fast that spends the budget. What is not known is a gap, and never a zero.

import { el, setText, table, keyed, region, sentence, color, count, clock, spans, percent } from "../dom.js";
import { chart, hues } from "./chart.js";
import { levels } from "./campaign.js";

const figuresMax = 40;
const linesMax = 24; // of one chart: 8 datacenters × 3 cohorts
const pointsMax = 720; // as many as the server keeps
const blocksOpen = 4; // objectives whose charts are drawn at once

const cohorts = ["all", "moved", "stayed"];
const dashes = { all: undefined, moved: [8, 4], stayed: [2, 3] };
const burnOf = (n) => String(Number(n.toPrecision(3)));
const known = (n) => typeof n === "number" && isFinite(n);
const promises = { availability: () => "answered without an error", latency: (o) => `answered within ${o.threshold_ms} ms` };

// lines are the groups of an objective that the history knows, in one order.
function lines(history, name) {
  const found = new Map();
  for (const point of history) {
    for (const s of point.series ?? []) {
      const cohort = s.cohort || "all";
      if (s.objective === name) found.set(s.datacenter + " " + cohort, { datacenter: s.datacenter, cohort });
    }
  }
  return [...found.values()].sort((a, b) => a.datacenter.localeCompare(b.datacenter) || cohorts.indexOf(a.cohort) - cohorts.indexOf(b.cohort)).slice(0, linesMax);
}

const keyOf = (name, g) => JSON.stringify([name, g.datacenter, g.cohort || "all"]);
const indexed = (point) => ({ ...point, by: new Map((point.series ?? []).map((s) => [keyOf(s.objective, s), s])) });
const at = (point, name, g) => point.by.get(keyOf(name, g));
const figure = (s, key) => s && s.events > 0 && known(s[key]) ? s[key] : null;

function block(first, hue) {
  const title = el("h3"), words = el("p", { class: "note" });
  const ratio = chart({ label: `Share of bad requests: ${first.o.name}`, number: percent });
  const burn = chart({ label: `Burn rate: ${first.o.name}`, number: burnOf });
  const rows = table(`Newest figures of ${first.o.name}`, [
    { name: "whose", tight: true, text: (r) => `${r.datacenter}, ${r.cohort}` },
    { name: "bad", text: (r) => r.ratio === null ? "not known" : percent(r.ratio) },
    { name: "burn rate", text: (r) => r.burn === null ? "not known" : burnOf(r.burn) },
    { name: "requests", text: (r) => r.events === null ? "" : count(Math.round(r.events)) },
    { name: "is", text: (r) => r.is, kind: (r) => ({ "within the objective": "good", "above the objective": "warn", "burning": "bad" })[r.is] ?? "warn" },
    { name: "known at", text: (r) => r.known },
  ]);
  const charts = el("div", { class: "charts" }, el("figure", {}, el("figcaption", {}, "Share of bad requests"), ratio.element), el("figure", {}, el("figcaption", {}, "Burn rate"), burn.element));
  const element = el("details", { open: first.index < blocksOpen, "data-objective": first.o.name }, el("summary", {}, title), words, charts, rows.element);
  let last = null;
  const draw = () => { if (last && element.open) paint(last); };
  element.addEventListener("toggle", draw);

  function paint({ o, history, page }) {
    const groups = lines(history, o.name), times = history.map((p) => Date.parse(p.at) / 1000), limit = 1 - o.target;
    const found = groups.map((g) => keyOf(o.name, g)).map((k) => history.map((p) => p.by.get(k)));
    const of = (key) => found.map((all) => all.map((s) => figure(s, key)));
    const series = groups.map((g) => ({ label: `${g.datacenter}, ${g.cohort}`, hue: hue.of(g.datacenter), dash: dashes[g.cohort] }));
    const line = (label) => ({ label, hue: () => color("--bad"), width: 1.5 });
    ratio.show([...series, line("may be bad")], [times, ...of("ratio"), times.map(() => limit)], limit * 1.2);
    burn.show([...series, line("pages")], [times, ...of("burn"), times.map(() => page)], page * 1.1);
    rows.update(groups.map((g) => row(g, o, history, page, limit)), (r) => r.datacenter + " " + r.cohort);
  }

  return {
    element,
    update(next) {
      last = next;
      const { o, windowText } = next;
      setText(title, `${o.name}: ${percent(o.target)} ${promises[o.kind]?.(o) ?? o.kind}`);
      setText(words, `At most ${percent(1 - o.target)} may be bad${windowText}; a burn rate of ${burnOf(next.page)} pages.`);
      draw();
    },
  };
}

// row is the newest figure of a group. One that is not of the newest look says of
// when it is.
function row(g, o, history, page, limit) {
  const newest = at(history.at(-1), o.name, g), ratio = figure(newest, "ratio"), burn = figure(newest, "burn");
  const r = { ...g, ratio, burn, events: newest && known(newest.events) ? newest.events : null, is: "not known", known: "" };
  if (ratio !== null) {
    r.is = burn >= page ? "burning" : ratio > limit ? "above the objective" : "within the objective";
    r.known = clock(history.at(-1).at).slice(11);
    return r;
  }
  const before = history.findLast((p) => figure(at(p, o.name, g), "ratio") !== null);
  r.known = before ? `last ${clock(before.at).slice(11)}: ${percent(at(before, o.name, g).ratio)}` : "never yet";
  return r;
}

export function objectives() {
  const off = el("p", { class: "empty" });
  const badge = el("strong", { class: "badge", id: "slo-level" }), reason = el("span", { class: "reason", id: "slo-reason" });
  const figures = table("Figures of the verdict", [
    { name: "objective", text: (f) => f.objective },
    { name: "whose", text: (f) => `${f.datacenter}, ${f.cohort || "all"}` },
    { name: "over", text: (f) => spans(f.window) },
    { name: "requests", text: (f) => count(Math.round(f.events)) },
    { name: "bad", text: (f) => f.events > 0 ? percent(f.ratio) : "" },
    { name: "burn rate", text: (f) => f.events > 0 ? `${burnOf(f.burn)} of ${burnOf(f.limit)}` : "" },
    { name: "level", text: (f) => f.level + (f.left_out ? ", has no say" : ""), kind: (f) => f.left_out ? "" : levels[f.level] ?? "" },
    { name: "why", text: (f) => f.why ?? "" },
  ]);
  const details = el("details", { hidden: true }, el("summary", {}, `The figures of the verdict, ${figuresMax} at most, those that decided first`), region("Figures of the verdict", figures.element));
  const hue = hues(), list = el("div");
  const blocks = keyed(list, (one) => block(one, hue));
  const body = el("div", { hidden: true }, el("p", { class: "phase", role: "status" }, badge, " ", reason), list, details);
  let value = null, history = [];

  function draw() {
    if (!value || value.off !== undefined || !history.length) return;
    const page = value.page_burn, windowText = `, over ${spans(value.window)}`;
    blocks(value.objectives.map((o, index) => ({ o, index, history, page, windowText })), (one) => one.o.name);
  }

  return {
    name: "objectives", title: "Objectives", wide: true, needs: "slo", element: el("div", {}, off, body),
    told: {
      map(head) {
        if (hue.take(head)) draw();
      },
      slo(v) {
        if (!v) return;
        value = v;
        body.hidden = v.off !== undefined;
        setText(off, v.off === undefined ? "" : "The objectives are not known. " + sentence(v.off));
        if (body.hidden) return;
        if (v.history) history = v.history.map(indexed);
        if (v.point && Date.parse(v.point.at) > Date.parse(history.at(-1)?.at ?? 0)) history = [...history, indexed(v.point)].slice(-pointsMax);
        setText(badge, v.verdict.level);
        badge.className = "badge " + (levels[v.verdict.level] ?? "bad");
        setText(reason, `${clock(v.verdict.at).slice(11)} ${v.verdict.reason}`);
        details.hidden = !v.verdict.figures?.length;
        figures.update((v.verdict.figures ?? []).slice(0, figuresMax).map((f, i) => ({ ...f, i })), (f) => f.i);
        draw();
      },
    },
  };
}
