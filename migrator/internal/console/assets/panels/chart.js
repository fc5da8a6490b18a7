// chart draws lines over time by uPlot. What is not known is a gap. The panel has
// the same figures in a table, for who does not see it or has no mouse.

import { el, color, clock } from "../dom.js";

// drawEvery is between two pictures of one chart, in milliseconds: figures come ten
// times a second while much happens.
const drawEvery = 500;

const dark = matchMedia("(prefers-color-scheme: dark)");

// chart shows data: times in seconds, and a list of numbers or null for each
// series. A series has a label, a hue (a function), and may have dash, stepped and
// width. least is how far the axis reaches up at least; number writes a figure, and
// tick one beside the axis.
export function chart({ label, height = 220, least = 1, number, tick = number }) {
  const element = el("div", { class: "chart", role: "group", "aria-label": label });
  let plot = null, drawn = "", series = [], data = null, last = 0, timer = null;

  function soon() {
    if (timer === null) timer = setTimeout(draw, Math.max(0, last + drawEvery - performance.now()));
  }

  function draw() {
    clearTimeout(timer);
    timer = null;
    last = performance.now();
    element.hidden = !data || !data[0].length;
    if (element.hidden || !element.clientWidth) return;
    const key = JSON.stringify([dark.matches, least, series.map((s) => [s.label, s.hue(), s.dash])]);
    if (plot && key === drawn) return plot.setData(data);
    plot?.destroy();
    drawn = key;
    const ink = color("--soft"), rule = color("--rule");
    const axis = { stroke: ink, grid: { stroke: rule, width: 1 }, ticks: { stroke: rule, width: 1 } };
    plot = new uPlot({
      width: element.clientWidth, height, cursor: { drag: { x: true, y: false } },
      tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"), // as everywhere on the page
      scales: { y: { range: (_, low, high) => [0, 1.05 * Math.max(least, high)] } },
      legend: { markers: { width: 2, dash: (_, i) => ["solid", "dashed", "dotted"][series[i - 1]?.dash ? (series[i - 1].dash[0] > 4 ? 1 : 2) : 0] } },
      axes: [{ ...axis, space: 70, incrs: steps, values: times }, { ...axis, size: 64, values: (_, ticks) => ticks.map((t) => t === null ? "" : tick(t)) }],
      series: [{ label: "at", value: (_, at) => at === null ? "–" : clock(at * 1000) }, ...series.map((s) => ({
        label: s.label, stroke: s.hue(), width: s.width ?? 2, dash: s.dash, points: { size: 4, ...(s.stepped ? { show: false } : {}) },
        paths: s.stepped ? uPlot.paths.stepped({ align: 1 }) : undefined, value: (_, n) => n === null || n === undefined ? "–" : number(n),
      }))],
    }, data, element);
  }

  new ResizeObserver(() => {
    if (plot && element.clientWidth) plot.setSize({ width: element.clientWidth, height });
    else draw();
  }).observe(element);
  dark.addEventListener("change", draw);
  return {
    element,
    show(nextSeries, nextData, nextLeast = least) {
      [series, data, least] = [nextSeries, nextData, nextLeast];
      soon();
    },
  };
}

// steps are what may lie between two moments of an axis, in seconds.
const steps = [1, 2, 5, 10, 15, 30, ...[1, 2, 5, 10, 15, 30].map((m) => 60 * m), ...[1, 2, 3, 6, 12].map((h) => 3600 * h), ...[1, 2, 5, 10, 30, 100, 365].map((d) => 86400 * d)];

// times writes the moments of an axis by their day, minute or second.
function times(_, ticks, axis, space, step) {
  return ticks.map((at) => {
    const text = clock(at * 1000);
    return step >= 86400 ? text.slice(5, 10) : step < 60 ? text.slice(11, 19) : text.slice(11, 16);
  });
}

// hues gives every datacenter the colour that it has in the grid: the one that is
// left the first, the one that is gone to the second.
export function hues() {
  let order = [];
  return {
    // take says whether the map's head changes them.
    take(head) {
      if (!head) return false;
      const next = [...new Set([head.default.source, head.default.target, ...head.datacenters].filter(Boolean))];
      if (next.join() === order.join()) return false;
      order = next;
      return true;
    },
    of: (dc) => () => color("--dc" + Math.max(0, order.indexOf(dc)) % 6),
  };
}
