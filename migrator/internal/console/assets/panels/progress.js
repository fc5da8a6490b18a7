// progress shows how many users have moved over time, and on to the end by the
// forecast.

import { el, setText, table, region, color, count, short, clock, spans } from "../dom.js";
import { chart } from "./chart.js";
import { over } from "./orders.js";

const rowsMax = 20;
const seconds = (text) => Date.parse(text) / 1000;

export function progress() {
  const paper = chart({ label: "Users moved, over time", height: 240, number: count, tick: short });
  const words = el("p", { class: "note", role: "status" });
  const rows = table("Users moved", [{ name: "at", text: (p) => clock(p.at) }, { name: "users", text: (p) => count(p.users) }]);
  const details = el("details", {}, el("summary", {}, `The same as a table, the last ${rowsMax} changes`), region("Table of users moved", rows.element));

  function draw(s) {
    const points = s.moved.map((p) => [seconds(p.at), p.users]);
    if (s.begun && (!points.length || seconds(s.begun) < points[0][0]) && s.moved.length < 500) points.unshift([seconds(s.begun), 0]);
    const data = [[], [], []];
    for (const [at, n] of points) { data[0].push(at); data[1].push(n); data[2].push(null); }
    const now = seconds(s.at), last = points.at(-1)?.[1] ?? 0;
    if (!points.length && !s.end) return paper.show([], [[]]);
    if (!over(s) && (!points.length || now > points.at(-1)[0])) { data[0].push(now); data[1].push(last); data[2].push(null); }
    if (s.end && seconds(s.end) > data[0].at(-1)) {
      data[2][data[2].length - 1] = last;
      data[0].push(seconds(s.end)); data[1].push(null); data[2].push(s.users.all);
    }
    paper.show([{ label: "moved", hue: () => color("--accent"), stepped: true }, { label: "forecast", hue: () => color("--soft"), dash: [6, 5] }],
      data, Math.max(1, s.end ? s.users.all : 1.2 * last));
  }

  return {
    name: "progress", title: "Users moved, and the forecast", needs: "campaign", absent: (s) => s === null,
    element: el("div", {}, paper.element, words, details),
    told: {
      campaign(s) {
        if (!s) return;
        draw(s);
        setText(words, over(s) ? "It is over." : s.end ? `By the forecast all have moved at ${clock(s.end)}, in ${spans(s.left)}.` :
          s.left > 0 ? `No end can be told while nothing begins; it takes ${spans(s.left)} once it goes on.` : "No end can be told.");
        rows.update(s.moved.slice(-rowsMax).reverse(), (p) => p.at + " " + p.users);
      },
    },
  };
}
