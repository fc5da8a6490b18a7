// confirm asks for a word to be typed before anything is changed, and sends the
// request. It resolves to the answer, to null when it was left, and to { error }
// when it was left while the request was under way and that went wrong.
//
// word and what may be functions: fields, an element with inputs of the action's
// own, may change them. body is asked when it is sent.

import { setText } from "./dom.js";

// The server gives up after 30 seconds.
const answerMax = 40000;

const now = (value) => typeof value === "function" ? value() : value;

export async function confirmed(session, { action, title, what, word, body, fields = [] }) {
  const id = (name) => document.getElementById("confirm" + name);
  const dialog = id(""), typed = id("-typed"), why = id("-why"), yes = id("-yes");
  const look = () => {
    setText(id("-what"), now(what));
    setText(id("-word"), now(word) || "…");
    yes.disabled = !now(word) || typed.value !== now(word);
  };
  setText(id("-title"), title);
  setText(id("-problem"), "");
  typed.value = why.value = "";
  id("-fields").replaceChildren(...fields);
  id("-fields").oninput = typed.oninput = look;
  look();
  const before = document.activeElement;
  return new Promise((resolve) => {
    let answer = null, sending = null, closed = false;
    dialog.onclose = async () => {
      closed = true;
      before?.focus();
      await sending;
      resolve(answer);
    };
    id("-no").onclick = () => dialog.close();
    dialog.querySelector("form").onsubmit = (e) => {
      e.preventDefault();
      if (sending || !now(word) || typed.value !== now(word)) return;
      yes.disabled = true;
      sending = send(session, action, { typed: typed.value, why: why.value, arguments: now(body) }).then((said) => {
        answer = said;
        if (!closed) dialog.close();
      }, (problem) => {
        if (closed) { answer = { error: problem.message }; return; }
        setText(id("-problem"), problem.message);
        look();
      }).finally(() => { sending = null; });
    };
    dialog.showModal();
    const first = id("-fields").querySelector("input, select") ?? why;
    first.focus();
    first.select?.(); // what is typed takes the place of what is there
  });
}

async function send(session, action, body) {
  let reply, said;
  try {
    reply = await fetch("/api/actions/" + action, {
      method: "POST",
      headers: { "Content-Type": "application/json", "Drover-Console-Csrf": session.csrf ?? "" },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(answerMax),
    });
    said = await reply.json();
  } catch (problem) {
    throw new Error(`No answer (${problem.message}): whether it was done is not known. The journal says.`);
  }
  if (!reply.ok) throw new Error(said.error ?? reply.statusText);
  return said;
}
