// decisions shows the campaign's journal: what was ordered, by whom and why, what
// was decided, by which figures, and what became of it.

import { el, setText, table, region, count, clock, spans, percent } from "../dom.js";

const figuresMax = 3;

function what(e) {
  switch (e.kind) {
    case "command": return `order: ${e.command}${e.rate ? " " + count(e.rate) : ""}${stepsOf(e)}`;
    case "obeyed": return `the run has taken in line ${e.of}`;
    case "decision": return `${e.decision?.action}, ${e.decision?.cause}${e.decision?.step ? ": " + e.decision.step : ""}`;
    case "step": return `${e.step} is ${e.state}${e.users ? `, ${count(e.users)} users` : ""}${e.took ? `, after ${spans(e.took)}` : ""}`;
    case "returning": return e.steps?.length ? `a way back begins${stepsOf(e)}` : "the way back is over";
    case "default": return `the default is ${e.why}`;
    case "run": return "a run begins";
    case "applied": return "the campaign begins to exist";
    case "ended": return "it is over";
    default: return e.kind;
  }
}

function stepsOf(e) {
  if (!e.steps?.length) return "";
  return " " + e.steps.slice(0, figuresMax).join(", ") + (e.steps.length > figuresMax ? ` and ${e.steps.length - figuresMax} more` : "");
}

// The reason of a decision has the figures that decided; those of a journal are
// told where it has none.
function why(e) {
  const said = e.error || e.decision?.reason || (e.kind === "default" ? "" : e.why) || "";
  const decided = (e.figures ?? []).slice(0, figuresMax).filter((f) => f.level !== "healthy");
  if (!decided.length) return said;
  return said + " [" + decided.map((f) => `${f.objective} of ${f.datacenter}${f.cohort ? ", " + f.cohort : ""} over ${spans(f.window)}: ${percent(f.ratio)} of ${count(Math.round(f.events))}, burn ${Number(f.burn.toPrecision(3))}`).join("; ") + "]";
}

const kind = (e) => e.error || e.state === "failed" || ["stop", "return"].includes(e.decision?.action) ? "bad" : e.decision?.action === "hold" || e.kind === "returning" ? "warn" : e.kind === "command" ? "" : null;

export function decisions() {
  const empty = el("p", { class: "empty" });
  const lines = table("Orders and decisions", [
    { name: "at", tight: true, text: (e) => clock(e.at) },
    { name: "what", text: what, kind },
    { name: "why", text: why },
    { name: "who", text: (e) => e.who ?? "" },
  ]);
  return {
    name: "decisions", title: "Orders and decisions", wide: true, needs: "campaign", absent: (s) => s === null,
    element: el("div", {}, empty, region("The campaign's newest lines", lines.element)),
    told: {
      campaign(s) {
        if (!s) return;
        setText(empty, s.journal.length ? "" : "Nothing is there yet.");
        lines.element.hidden = !s.journal.length;
        lines.update([...s.journal].reverse(), (e) => s.campaign + e.seq);
      },
    },
  };
}
