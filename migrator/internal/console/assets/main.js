// main builds the page: a panel for each topic that the server has. A new part of
// the page is a file in panels/ and a line in the list below.

import { el, setText, clock } from "./dom.js";
import { follow } from "./events.js";
import { campaign } from "./panels/campaign.js";
import { progress } from "./panels/progress.js";
import { waves } from "./panels/waves.js";
import { objectives } from "./panels/objectives.js";
import { decisions } from "./panels/decisions.js";
import { summary } from "./panels/summary.js";
import { grid } from "./panels/grid.js";
import { users } from "./panels/users.js";
import { moves } from "./panels/moves.js";
import { fleet } from "./panels/fleet.js";
import { tracers } from "./panels/tracers.js";
import { journal } from "./panels/journal.js";
import { whitelist } from "./panels/whitelist.js";

// A panel has: title, wide, needs (a topic or an action, without which it is not
// there), element, told (topic → function of its value), and perhaps absent: whether
// by a value of what it needs there is nothing to show.
const panels = [campaign, progress, waves, objectives, decisions, summary, grid, users, moves, tracers, fleet, whitelist, journal];

async function start() {
  const reply = await fetch("/api/me");
  if (!reply.ok) return location.assign("/login");
  const session = await reply.json();
  setText(document.getElementById("me"), session.name + ", " + session.role);
  document.getElementById("leave").hidden = !session.leave;

  const listeners = new Map(); // topic → functions of (value, error, since)
  const listen = (topic, f) => listeners.set(topic, [...(listeners.get(topic) ?? []), f]);
  for (const make of panels) {
    const panel = make(session);
    if (!session.topics.includes(panel.needs) && !session.actions.includes(panel.needs)) continue;
    const stale = el("p", { class: "stale", role: "alert", hidden: true });
    const id = "panel-" + panel.name;
    const section = el("section", { class: panel.wide ? "" : "half", hidden: !!panel.absent, "aria-labelledby": id, "data-panel": panel.name },
      el("h2", { id }, panel.title), stale, panel.element);
    document.getElementById("panels").append(section);
    for (const [topic, f] of Object.entries(panel.told)) listen(topic, f);
    if (session.topics.includes(panel.needs)) {
      listen(panel.needs, (value, error, since) => {
        section.hidden = !error && !!panel.absent?.(value);
        stale.hidden = !error;
        setText(stale, error ? "Not known since " + clock(since) + ", what is below is older: " + error : "");
      });
    }
  }
  const line = document.getElementById("line");
  follow({
    topics: [...session.topics, "grid"],
    tell(topic, said) {
      // The grid's changes are bare; the others come with what is wrong with them.
      const [value, error, since] = topic === "grid" ? [said] : [said.value, said.error, said.since];
      for (const f of listeners.get(topic) ?? []) f(value, error, since);
    },
    line(kind, words) {
      line.className = kind;
      setText(line, words);
    },
  });
}

start();
