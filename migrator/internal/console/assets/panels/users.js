// users shows how many users had their home where, over time.

import { el, setText, table, color, count, clock } from "../dom.js";

const height = 240;
const rowsMax = 20;

export function users() {
  const place = el("div", { class: "chart" });
  const words = el("p", { class: "note", role: "status" });
  const list = el("div", { class: "tall", tabindex: 0, role: "region", "aria-label": "Table of versions" });
  const details = el("details", {}, el("summary", {}, `The same as a table, the last ${rowsMax} versions`), list);
  let value = null, chart = null, drawn = "", rows = null;
  let order = []; // of the colours: one for each datacenter, as in the grid
  const hue = (dc) => color("--dc" + Math.max(0, order.indexOf(dc)) % 6);

  function draw() {
    if (!value || !value.points.length || !place.clientWidth) return;
    const data = [[], ...value.datacenters.map(() => [])];
    for (const [at, , ...numbers] of value.points) {
      data[0].push(at);
      numbers.forEach((n, i) => data[i + 1].push(n));
    }
    // The last figures hold until now.
    const now = Date.now() / 1000;
    if (now > data[0].at(-1)) data.forEach((d, i) => d.push(i === 0 ? now : d.at(-1)));
    const key = value.datacenters.join() + order.join() + matchMedia("(prefers-color-scheme: dark)").matches;
    if (chart && key === drawn) return chart.setData(data);
    chart?.destroy();
    drawn = key;
    const ink = color("--soft"), rule = color("--rule");
    const axis = { stroke: ink, grid: { stroke: rule, width: 1 }, ticks: { stroke: rule, width: 1 } };
    chart = new uPlot({
      width: place.clientWidth, height, cursor: { drag: { x: true, y: false } },
      scales: { y: { range: (_, low, high) => [0, Math.max(1, high)] } },
      axes: [axis, { ...axis, size: 70, values: (_, ticks) => ticks.map((t) => t === null ? "" : count(t)) }],
      series: [{}, ...value.datacenters.map((dc) => ({
        label: dc, stroke: hue(dc), width: 2, paths: uPlot.paths.stepped({ align: 1 }), points: { show: false },
        value: (_, n) => n === null ? "" : count(n),
      }))],
    }, data, place);
  }

  new ResizeObserver(() => {
    if (chart && place.clientWidth) chart.setSize({ width: place.clientWidth, height });
    else draw();
  }).observe(place);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  return {
    name: "users", title: "Users by datacenter, over time", needs: "users", element: el("div", {}, place, words, details),
    told: {
      map(head) {
        if (!head) return;
        const next = [...new Set([head.default.source, head.default.target, ...head.datacenters].filter(Boolean))];
        if (next.join() === order.join()) return;
        order = next;
        draw();
      },
      users(next) {
        if (!next) return;
        value = next;
        draw();
        const now = value.points.at(-1);
        setText(words, now ? `Now: ${value.datacenters.map((dc, i) => `${count(now[i + 2])} ${value.unit} in ${dc}`).join(", ")}.` : "");
        if (!rows) {
          rows = table("Users by version", [{ name: "version", text: (p) => p[1] }, { name: "since", text: (p) => clock(p[0] * 1000) },
            { name: value.unit, text: (p) => value.datacenters.map((dc, i) => `${dc} ${count(p[i + 2])}`).join(", ") }]);
          list.append(rows.element);
        }
        rows.update(value.points.slice(-rowsMax).reverse(), (p) => p[1]);
      },
    },
  };
}
