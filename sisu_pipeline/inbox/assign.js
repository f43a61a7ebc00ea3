// Who is asked to decide about a run. Being asked gives no right: the policy determines who may.

import { get, post } from "./api.js";
import { announce, el, labelled } from "./dom.js";
import { perform } from "./focus.js";
import { visible } from "./hidden.js";
import { mayDecide, nameField, nameOf } from "./session.js";

const MOST = 200;

// The people and groups that are asked about a run whose gate is open; null without an open gate.
export async function loadAsked(runId, gates) {
  if (!gates.some((gate) => gate.state === "waiting")) return null;
  const { gates: found } = await get(`/gates?search=${runId}&limit=${MOST}`);
  return found.find((gate) => gate.runId === runId)?.asked ?? null;
}

export function namesOf({ people, groups, delegates }) {
  return [...people, ...groups.map((group) => `group ${group}`), ...delegates.map((name) => `${name} (substitute)`)].join(", ");
}

export function assignment(run, asked, changed) {
  if (!asked) return null;
  const status = el("p", {}, "Asks ", visible(namesOf(asked) || "no one in particular"), asked.assignedBy ? [", assigned by ", visible(asked.assignedBy)] : null);
  return el("section", { id: "assignment", "aria-labelledby": "assignment-title" }, el("h2", { id: "assignment-title" }, "Asked to decide"),
    status, mayDecide() ? assigning(run, asked, changed) : null);
}

function assigning(run, asked, changed) {
  const before = asked.assignedBy ? [...asked.people, ...asked.groups.map((group) => `@${group}`)].join("\n") : "";
  const names = el("textarea", { name: "assignees", rows: "3" }, before);
  const reason = el("input", { name: "assignment-reason", maxlength: "2000" });
  const name = nameField();
  const fault = el("p", { class: "bad", role: "alert" });
  const button = el("button", { id: "assign" }, "Assign");
  const form = el("form", { onsubmit: send }, labelled("People and groups", names, "one per line; @ before the name of a group; none: no one in particular"),
    labelled("Reason for the assignment", reason), name && labelled("Assigned by", name), fault, el("div", { class: "verbs" }, button));
  return el("details", {}, el("summary", {}, "Assign to others…"), form);

  function send(event) {
    event.preventDefault();
    const given = [...new Set(names.value.split("\n").map((each) => each.trim()).filter(Boolean))];
    const body = { people: given.filter((each) => !each.startsWith("@")), groups: given.filter((each) => each.startsWith("@")).map((each) => each.slice(1)),
      reason: reason.value, assignedBy: nameOf(name) };
    perform(fault, [button], () => post(`/runs/${run.runId}/assign`, body), async () => {
      announce(given.length ? `Assigned to ${given.join(", ")}` : "Assigned to no one in particular");
      await changed();
    });
  }
}
