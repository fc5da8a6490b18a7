// orders are the buttons of a campaign. Operators alone have them. A button that
// is of no use now can still be reached, and says why: what has the focus does not
// lose it when the campaign changes.

import { el, setText, count, lasting } from "../dom.js";
import { confirmed } from "../confirm.js";

// namesMax bounds what a field proposes.
const namesMax = 100;

export const over = (s) => s.phase === "done" || s.phase === "aborted";
const some = (s, ...states) => s.waves.some((w) => w.steps.some((t) => states.includes(t.state)));

const plain = (word) => () => ({ word, body: {}, fields: [] });

// Each order: its button, what is asked, why not now ("" when it may be given),
// and its fields with the word and the arguments that follow from them.
const all = [
  {
    name: "pause", title: "Pause the campaign?", ask: plain("pause"),
    what: "Nothing begins. What is under way steps back and waits, unless it is past its commit point. Who bakes and burns still goes back.",
    off: (s) => s.phase === "paused" ? "it is paused" : "",
  },
  {
    name: "resume", title: "Resume the campaign?", what: "A pause or a stop ends. What failed or went back is tried again.", ask: plain("resume"),
    off: (s) => s.phase === "returning" ? "users are going back" :
      s.phase === "paused" || s.phase === "stopped" || some(s, "failed", "returned") ? "" : "it is neither paused nor stopped",
  },
  { name: "rate", title: "Change the rate?", ask: rate, what: (s) => `Users an hour from now on, ${count(s.pace.min)} to ${count(s.pace.max)}. Healthy bakes add to it.` },
  { name: "return", title: "Take users home?", danger: true, ask: back, what: () => "They go back to where they came from, and then the campaign stops." },
  { name: "skip", title: "Leave steps out?", ask: skip, what: () => "What waits, has failed or is back is left out. Empty: the step that the campaign waits at." },
  { name: "abort", title: "Abort the campaign?", danger: true, ask: plain("abort"), what: "It ends where it is, for good: what is under way is given up, who has moved stays." },
];

export function orders(session) {
  const said = el("p", { role: "status", class: "note", id: "campaign-said" });
  let status = null;
  const made = all.filter((o) => session.actions.includes("campaign-" + o.name)).map((o) => {
    const button = el("button", { type: "button", class: o.danger ? "grave" : "", onclick: () => press(o) }, o.name[0].toUpperCase() + o.name.slice(1) + "…");
    return { ...o, button };
  });
  const why = (o) => over(status) ? "it is over" : o.off?.(status) ?? "";

  async function press(o) {
    if (!status) return;
    if (why(o)) return setText(said, `Not now: ${why(o)}.`);
    setText(said, "");
    const { word, body, fields } = o.ask(status);
    const what = typeof o.what === "string" ? o.what : o.what(status);
    const answer = await confirmed(session, { action: "campaign-" + o.name, title: o.title, what, word, body, fields });
    if (answer) setText(said, outcome(o.name, answer));
  }

  return {
    element: el("div", { hidden: !made.length }, el("div", { class: "buttons", role: "group", "aria-label": "Orders" }, ...made.map((o) => o.button)), said),
    update(s) {
      status = s;
      for (const o of made) o.button.setAttribute("aria-disabled", String(why(o) !== ""));
    },
  };
}

function outcome(name, a) {
  if (a.error) return `${name}: ${a.error}`;
  const steps = a.steps ? ` of ${a.steps === 1 ? "1 step" : count(a.steps) + " steps"}` : "";
  if (a.obeyed) return `${name}${steps}: obeyed after ${lasting(a.after / 1e9)}.`;
  if (!a.live) return `${name}${steps}: noted; no run is live, and migrator campaign run will obey.`;
  return `${name}${steps}: in the journal, line ${a.line}, but the live run has not taken it in. Is its machine all right?`;
}

function rate(s) {
  const input = el("input", { id: "order-rate", type: "number", min: s.pace.min, max: s.pace.max, step: 1, value: Math.round(s.pace.rate), inputmode: "numeric" });
  const number = () => /^[1-9][0-9]{0,15}$/.test(input.value) ? input.value : "";
  return { word: number, body: () => ({ rate: Number(number()) }), fields: [el("label", { for: "order-rate" }, "Users an hour"), input] };
}

// named is a field for a step or a wave.
function named(s, label, states) {
  const names = s.waves.flatMap((w) => {
    const steps = w.steps.filter((t) => states.includes(t.state));
    return steps.length ? [w.name, ...steps.map((t) => t.step)] : [];
  });
  const input = el("input", { id: "order-target", list: "order-targets", maxlength: 200, autocomplete: "off", spellcheck: "false" });
  const list = el("datalist", { id: "order-targets" }, ...names.slice(0, namesMax).map((n) => el("option", { value: n })));
  return { input, fields: [el("label", { for: "order-target" }, label), input, list] };
}

function skip(s) {
  const { input, fields } = named(s, "Step or wave, such as singles/3", ["waiting", "failed", "returned"]);
  return { word: "skip", body: () => ({ target: input.value.trim() }), fields };
}

function back(s) {
  const { input, fields } = named(s, "Step or wave, such as singles/3; empty: the newest wave with users who have moved", ["running", "baking", "passed", "failed", "returning"]);
  const everybody = el("input", { id: "order-all", type: "checkbox" });
  everybody.addEventListener("input", () => { input.disabled = everybody.checked; });
  const mode = el("select", { id: "order-mode" }, ...[["", "as the plan says"], ["at_once", "at once, side by side"], ["stepwise", "stepwise, the newest first"]].map(([value, text]) => el("option", { value }, text)));
  return {
    word: () => everybody.checked ? "return all" : "return",
    body: () => ({ target: everybody.checked ? "" : input.value.trim(), all: everybody.checked, mode: mode.value }),
    fields: [...fields, el("label", { class: "check", for: "order-all" }, everybody, "everybody whom the campaign has moved"),
      el("label", { for: "order-mode" }, "How"), mode],
  };
}
