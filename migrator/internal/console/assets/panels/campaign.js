// campaign is the top of the page when there is one: how it is in a word, why
// nothing begins, how far it is, and an operator's orders.

import { el, setText, count, clock, spans, percent } from "../dom.js";
import { orders, over } from "./orders.js";

// What each phase looks like: a mark, a colour, and what is said where the
// campaign itself gives no reason.
const looks = {
  ready: ["○", "", "It has begun, and nobody has moved: migrator campaign run goes on with it."],
  moving: ["▶", "good", ""],
  held: ["‖", "warn", ""],
  paused: ["‖", "warn", ""],
  stopped: ["■", "bad", ""],
  returning: ["◀", "warn", ""],
  done: ["✔", "good", "Every step is done."],
  aborted: ["✖", "bad", ""],
};

// lookedMax is how long ago a live run went round at most, in milliseconds.
const lookedMax = 60000;

export const levels = { healthy: "good", unhealthy: "warn", burning: "bad", unknown: "warn" };

export function campaign(session) {
  const mark = el("span", { "aria-hidden": "true" }), phase = el("span"), badge = el("strong", { class: "badge", id: "campaign-phase" }, mark, " ", phase);
  const reason = el("span", { class: "reason", id: "campaign-reason" });
  const run = el("p", { class: "note", id: "campaign-run" });
  const bar = el("progress", { max: 1, value: 0, "aria-label": "Users moved" });
  const moved = el("p", { id: "campaign-moved" });
  const list = el("dl", { class: "tiles" });
  const put = tiles(list);
  const buttons = orders(session);
  return {
    name: "campaign", title: "Campaign", wide: true, needs: "campaign", absent: (s) => s === null,
    element: el("div", { class: "campaign" }, el("p", { class: "phase", role: "status" }, badge, " ", reason), run,
      el("div", { class: "bar" }, bar, moved), list, buttons.element),
    told: {
      campaign(s) {
        if (s === null) document.title = "Drover";
        if (!s) return;
        const [sign, kind, words] = looks[s.phase] ?? ["?", "bad", ""];
        const idle = !s.live && !over(s), stuck = s.live && s.looked && Date.parse(s.at) - Date.parse(s.looked) > lookedMax;
        setText(mark, sign);
        setText(phase, s.phase);
        badge.className = "badge " + ((idle || stuck) && kind === "good" ? "warn" : kind);
        document.title = `${s.phase}: Drover`;
        setText(reason, s.reason || words || (s.decision ? s.decision.reason : ""));
        setText(run, `Campaign ${s.campaign} to ${s.to}. ` + (stuck ? `The run that has it is stuck: it was last seen to go round at ${clock(s.looked)}. End it, and migrator campaign run.` :
          s.live ? "A run has it." : over(s) ? "It is over." : "No run has it: nothing moves until migrator campaign run goes on with it."));
        run.className = stuck ? "state bad" : idle ? "state warn" : "note";
        bar.max = Math.max(1, s.users.all);
        bar.value = s.users.moved;
        setText(moved, `${count(s.users.moved)} of ${count(s.users.all)} users have moved${s.users.all ? `, ${percent(s.users.moved / s.users.all)}` : ""}` +
          (s.whitelisted ? `, and ${count(s.whitelisted.moved)} of ${count(s.whitelisted.all)} of them by the whitelist.` : "."));
        figures(put, s);
        buttons.update(s);
      },
    },
  };
}

function figures(put, s) {
  const p = s.pace, forecast = s.end && clock(s.end);
  put("users an hour", count(Math.round(p.rate)), `${count(p.min)} to ${count(p.max)}`);
  put("moved in the last hour", count(p.last_hour), p.users_an_hour_max ? `of ${count(p.users_an_hour_max)} at most` : "");
  put("end, by the forecast", over(s) ? "over" : forecast ? forecast.slice(0, 16) + "Z" : "not known",
    over(s) ? "" : s.left > 0 ? forecast ? `in ${spans(s.left)}` : `${spans(s.left)} after it goes on` : "");
  put("default", s.default || "not set yet", "");
  put("objectives", s.verdict?.level || "not asked yet", s.verdict?.level ? clock(s.verdict.at).slice(11) : "", levels[s.verdict?.level]);
}

// tiles returns a function that puts a figure into a list.
function tiles(list) {
  const made = new Map();
  return (name, value, small, kind = "") => {
    let tile = made.get(name);
    if (!tile) {
      tile = { value: el("span"), small: el("small") };
      list.append(el("div", {}, el("dt", {}, name), el("dd", {}, tile.value, " ", tile.small)));
      made.set(name, tile);
    }
    setText(tile.value, value);
    setText(tile.small, small);
    tile.value.className = kind ? "state " + kind : "";
  };
}
