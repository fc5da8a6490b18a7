// confirm asks for a word to be typed before anything is changed, and sends the
// request. It resolves to the answer, or to null when it was left.

import { setText } from "./dom.js";

export async function confirmed(session, { action, title, what, word, body }) {
  const id = (name) => document.getElementById("confirm" + name);
  const dialog = id("");
  setText(id("-title"), title);
  setText(id("-what"), what);
  setText(id("-word"), word);
  setText(id("-problem"), "");
  const typed = id("-typed"), why = id("-why"), yes = id("-yes");
  typed.value = why.value = "";
  yes.disabled = true;
  typed.oninput = () => { yes.disabled = typed.value !== word; };
  const before = document.activeElement;
  return new Promise((resolve) => {
    let answer = null;
    dialog.onclose = () => { before?.focus(); resolve(answer); };
    id("-no").onclick = () => dialog.close();
    dialog.querySelector("form").onsubmit = async (e) => {
      e.preventDefault();
      if (typed.value !== word) return;
      yes.disabled = true;
      try {
        const reply = await fetch("/api/actions/" + action, {
          method: "POST",
          headers: { "Content-Type": "application/json", "Drover-Console-Csrf": session.csrf ?? "" },
          body: JSON.stringify({ typed: typed.value, why: why.value, arguments: body }),
        });
        const said = await reply.json();
        if (!reply.ok) throw new Error(said.error ?? reply.statusText);
        answer = said;
        dialog.close();
      } catch (problem) {
        setText(id("-problem"), problem.message);
        yes.disabled = false;
      }
    };
    dialog.showModal();
    why.focus();
  });
}
