// The user: the owner of the token, or, where no token is required, the name that the user enters.

import { get, post } from "./api.js";
import { el, labelled, show } from "./dom.js";

const NAME = "sisu-name";
export let session = null;

export async function enter() {
  session = await get("/session");
  const who = document.getElementById("who");
  who.replaceChildren(...(session.owner
    ? [`${session.owner} (${session.roles.join(", ")}) `, el("button", { type: "button", onclick: leave }, "Sign out")]
    : ["This machine, no sign-in"]));
}

export const mayDecide = () => session.roles.includes("approver");

// The field for a name; null where the token determines it.
export function nameField() {
  if (session.owner) return null;
  return el("input", { name: "by", required: true, autocomplete: "name", value: localStorage.getItem(NAME) || "" });
}

export function nameOf(field) {
  if (!field) return session.owner;
  localStorage.setItem(NAME, field.value);
  return field.value;
}

export async function askForToken(entered) {
  const token = el("input", { type: "password", name: "token", required: true, autocomplete: "current-password" });
  const fault = el("p", { class: "bad", role: "alert" });
  const form = el("form", { onsubmit: submit }, labelled("Token", token, "from `sisu token create`"), fault,
    el("div", { class: "verbs" }, el("button", { class: "main" }, "Sign in")));
  show(el("h1", {}, "Sign in"), form);
  token.focus();
  const { provider } = await get("/sign-in");
  if (provider) form.before(el("p", {}, el("a", { href: provider, class: "provider" }, "Sign in with your organization")));

  async function submit(event) {
    event.preventDefault();
    try {
      await post("/session/cookie", { token: token.value });
      await entered();
    } catch (error) {
      fault.textContent = error.status === 401 ? "This token is unknown or revoked." : error.message;
    }
  }
}

async function leave() {
  await post("/session/close");
  location.reload();
}
