// users shows how many users had their home where, over time.

import { el, setText, table, region, count, short, clock } from "../dom.js";
import { chart, hues } from "./chart.js";

const rowsMax = 20;

export function users() {
  const paper = chart({ label: "Users by datacenter, over time", height: 240, number: count, tick: short });
  const words = el("p", { class: "note", role: "status" });
  const list = region("Table of versions");
  const details = el("details", {}, el("summary", {}, `The same as a table, the last ${rowsMax} versions`), list);
  const hue = hues();
  let value = null, rows = null;

  function draw() {
    if (!value || !value.points.length) return;
    const data = [[], ...value.datacenters.map(() => [])];
    for (const [at, , ...numbers] of value.points) {
      data[0].push(at);
      numbers.forEach((n, i) => data[i + 1].push(n));
    }
    // The last figures hold until now.
    const now = Date.now() / 1000;
    if (now > data[0].at(-1)) data.forEach((d, i) => d.push(i === 0 ? now : d.at(-1)));
    paper.show(value.datacenters.map((dc) => ({ label: dc, hue: hue.of(dc), stepped: true })), data);
  }

  return {
    name: "users", title: "Users by datacenter, over time", needs: "users", element: el("div", {}, paper.element, words, details),
    told: {
      map(head) {
        if (hue.take(head)) draw();
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
