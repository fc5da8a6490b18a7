// whitelist sends users to a datacenter whatever their home is. Operators alone
// have it.

import { el, setText } from "../dom.js";
import { confirmed } from "../confirm.js";

export function whitelist(session) {
  const ids = el("textarea", { id: "whitelist-users", spellcheck: "false", autocomplete: "off" });
  const to = el("select", { id: "whitelist-to" });
  const said = el("p", { role: "status", class: "note" });
  const named = () => ids.value.split("\n").map((s) => s.trim()).filter(Boolean);
  const press = (action, word, what, body) => async () => {
    const users = named();
    if (!users.length) return setText(said, "Name a user or more, one a line.");
    const answer = await confirmed(session, { action, title: what() + "?", what: users.slice(0, 10).join(", ") + (users.length > 10 ? ` and ${users.length - 10} more` : ""), word: word(), body: body(users) });
    if (!answer) return;
    if (answer.error) return setText(said, answer.error);
    ids.value = "";
    setText(said, `${answer.added} added, ${answer.changed} changed, ${answer.removed} removed; ${answer.total} on the whitelist; map version ${answer.version}.`);
  };
  const many = () => named().length === 1 ? "1 user" : named().length + " users";
  const element = el("div", {}, el("label", { for: "whitelist-users" }, "User ids, one a line"), ids,
    el("label", { for: "whitelist-to" }, "Datacenter"), to,
    el("div", { class: "buttons" },
      el("button", { type: "button", onclick: press("whitelist-remove", () => "remove", () => `Take ${many()} off the whitelist`, (users) => ({ users })) }, "Take off…"),
      el("button", { type: "button", onclick: press("whitelist-add", () => to.value, () => `Send ${many()} to ${to.value}`, (users) => ({ users, to: to.value })) }, "Send there…")),
    said);
  return {
    name: "whitelist", title: "Whitelist", needs: "whitelist-add", element,
    told: {
      map(head) {
        if (!head || head.datacenters.join() === [...to.options].map((o) => o.value).join()) return;
        const was = to.value || head.default.target;
        to.replaceChildren(...head.datacenters.map((dc) => el("option", { value: dc, selected: dc === was }, dc)));
      },
    },
  };
}
