// What an operator does with a run: cancel it, or execute it again, which also opens a gate again that timed out.

import { post } from "./api.js";
import { announce, el, labelled } from "./dom.js";
import { perform } from "./focus.js";
import { nameField, nameOf, session } from "./session.js";

const MAY_RETRY = ["failed", "retries_exceeded"];
const MAY_CANCEL = ["queued", "running", "waiting_input", "repairing"];

export function operations({ run, gates }, changed) {
  const verb = MAY_RETRY.includes(run.status) ? "retry" : MAY_CANCEL.includes(run.status) ? "cancel" : null;
  if (!verb || !session.roles.includes("operator")) return null;
  const timedOut = gates.some((gate) => gate.state === "timed_out");
  const title = verb === "cancel" ? "Cancel the run" : timedOut ? "Open the gate again" : "Retry the run";
  const hint = verb === "cancel" ? "tasks are stopped and patches rolled back" : timedOut ? "it waits as long as before" : "from the first step without a result";
  const name = nameField();
  const reason = el("input", { name: "operation-reason", maxlength: "2000", required: verb === "cancel" || timedOut });
  const fault = el("p", { class: "bad", role: "alert" });
  const button = el("button", { class: verb === "cancel" ? "no" : "main", id: verb }, title);
  return el("section", { id: "operations", "aria-labelledby": "operations-title" }, el("h2", { id: "operations-title" }, title),
    el("form", { onsubmit: send }, name && labelled("Operator's name", name), labelled("Reason of the operator", reason, hint), fault,
      el("div", { class: "verbs" }, button)));

  function send(event) {
    event.preventDefault();
    perform(fault, [button], () => post(`/runs/${run.runId}/${verb}`, { actor: nameOf(name), reason: reason.value }), async ({ status }) => {
      announce(`The run is ${status}`);
      await changed();
    });
  }
}
