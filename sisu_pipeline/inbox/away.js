// Out of office: who is away, and which colleague is asked meanwhile.

import { get, post } from "./api.js";
import { announce, el, labelled } from "./dom.js";
import { perform } from "./focus.js";
import { visible } from "./hidden.js";
import { mayDecide, nameField, nameOf, session } from "./session.js";

export async function absences() {
  const { delegations } = await get("/delegations");
  const place = el("div", { id: "absences" });
  const title = el("h1", { tabindex: "-1" }, "Out of office");
  const fault = el("p", { class: "bad", role: "alert" });
  const mayActForOthers = session.roles.includes("operator");
  const form = mayDecide() ? recording(mayActForOthers, redraw) : null;
  draw(delegations);
  return [el("p", {}, el("a", { href: "#/" }, "← Inbox")), title,
    el("p", { class: "quiet" }, "A colleague is asked too while you are away. The colleague gets no right by it: the policy determines who may decide."),
    place, fault, form];

  function draw(found) {
    place.replaceChildren(found.length ? el("ul", { class: "cards" }, found.map(card)) : el("p", { class: "quiet" }, "No one is away."));
  }

  async function redraw(text) {
    announce(text);
    draw((await get("/delegations")).delegations);
    title.focus({ preventScroll: true });
  }

  function card(absence) {
    const { person, delegate, beginsAt, endsAt, reason } = absence;
    const isOwn = !session.owner || session.owner === person;
    const end = el("button", { type: "button", "aria-label": `End the absence of ${person}`, onclick: () => back(absence, end) }, "End the absence");
    return el("li", { class: "card" }, el("p", {}, el("strong", {}, visible(person)), ": ", visible(delegate), " substitutes"),
      el("p", { class: "facts" }, el("span", {}, "from ", moment(beginsAt)), el("span", {}, "to ", moment(endsAt)), reason ? el("span", {}, visible(reason)) : null),
      mayDecide() && (isOwn || mayActForOthers) ? el("div", { class: "verbs" }, end) : null);
  }

  function back({ person }, button) {
    const body = { recordedBy: session.owner ?? person, person };
    perform(fault, [button], () => post("/delegations", body), () => redraw(`${person} is back`));
  }
}

const moment = (iso) => el("time", { datetime: iso }, new Date(iso).toLocaleString());

function recording(mayActForOthers, recorded) {
  const name = nameField();
  const person = mayActForOthers && session.owner ? el("input", { name: "person", maxlength: "200" }) : null;
  const delegate = el("input", { name: "delegate", required: true, maxlength: "200" });
  const from = el("input", { type: "datetime-local", name: "from" });
  const until = el("input", { type: "datetime-local", name: "until", required: true });
  const reason = el("input", { name: "absence-reason", maxlength: "2000" });
  const fault = el("p", { class: "bad", role: "alert" });
  const button = el("button", { class: "main", id: "record-absence" }, "Record the absence");
  return el("form", { id: "absence", onsubmit: send }, el("h2", {}, "Record an absence"), name && labelled("Person who is away", name),
    person && labelled("Person who is away", person, "empty: you"), labelled("Colleague who substitutes", delegate), labelled("From", from, "empty: now"), labelled("To", until),
    labelled("Reason", reason, "others can read it"), fault, el("div", { class: "verbs" }, button));

  function send(event) {
    event.preventDefault();
    const iso = (field) => (field.value ? new Date(field.value).toISOString() : null);
    const body = { recordedBy: nameOf(name), person: person?.value || null, delegate: delegate.value, beginsAt: iso(from), endsAt: iso(until), reason: reason.value };
    perform(fault, [button], () => post("/delegations", body), async ({ person: away, delegate: colleague }) => {
      button.disabled = false;
      event.target.reset();
      await recorded(`${colleague} substitutes for ${away}`);
    });
  }
}
