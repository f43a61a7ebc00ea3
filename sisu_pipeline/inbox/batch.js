// Decide about the selected plans together. Each is bound to the plan that the list showed when it was selected.

import { post } from "./api.js";
import { announce, el, labelled } from "./dom.js";
import { perform } from "./focus.js";
import { visible } from "./hidden.js";
import { mayDecide, nameField, nameOf } from "./session.js";

export const MOST = 200;

export class Selection {
  #gates = new Map();

  constructor(decided) {
    this.decided = decided;
    this.bar = el("form", { id: "batch", hidden: true, "aria-label": "Decide about the selected plans" });
    this.results = el("div", { id: "results", role: "group", "aria-label": "Results of the decisions", tabindex: "-1" });
  }

  // The box of a gate; null where nothing can be decided in a list.
  box(gate) {
    if (gate.purpose !== "approve-plan" || !mayDecide()) return null;
    const label = `Select ${gate.goal}`;
    const box = el("input", { type: "checkbox", "aria-label": label, "data-run": gate.runId, onchange: () => this.#set(gate, box) });
    box.checked = this.#gates.has(gate.runId);
    return box;
  }

  // A gate that another person decided on meanwhile leaves the list and the selection.
  keep(isListed) {
    for (const runId of this.#gates.keys()) if (!isListed(runId)) this.#gates.delete(runId);
    this.#draw();
  }

  #set(gate, box) {
    if (box.checked && this.#gates.size < MOST) this.#gates.set(gate.runId, gate);
    else this.#gates.delete(gate.runId);
    box.checked = this.#gates.has(gate.runId);
    this.#draw();
  }

  #draw() {
    const count = this.#gates.size;
    if (!count) this.bar.replaceChildren();
    else if (!this.bar.childElementCount) this.bar.replaceChildren(...this.#form());
    this.bar.hidden = !count;
    const title = this.bar.querySelector("h3");
    if (title) title.textContent = `${count} selected`;
  }

  #form() {
    const name = nameField();
    const reason = el("textarea", { name: "reason", maxlength: "2000" });
    const fault = el("p", { class: "bad", role: "alert" });
    const send = (decision) => async () => {
      reason.required = decision === "rejected";
      const isComplete = this.bar.reportValidity();
      reason.required = false;
      if (isComplete) await this.#decide(decision, nameOf(name), reason.value, fault);
    };
    this.bar.onsubmit = (event) => event.preventDefault();
    return [el("h3", {}), name && labelled("Your name", name),
      labelled("Reason", reason, "recorded with each decision; required for a rejection"), fault,
      el("div", { class: "verbs" }, el("button", { type: "button", class: "main", id: "approve-all", onclick: send("approved") }, "Approve the selected plans"),
        el("button", { type: "button", class: "no", id: "reject-all", onclick: send("rejected") }, "Reject the selected plans"))].filter(Boolean);
  }

  #decide(decision, decidedBy, reason, fault) {
    const gates = [...this.#gates.values()];
    const plans = gates.map(({ runId, planSha256 }) => ({ runId, planSha256 }));
    const body = { decision, decidedBy, plans, ...(reason.trim() ? { reason } : {}) };
    return perform(fault, [...this.bar.querySelectorAll("button")], () => post("/gates/decide", body), async (answer) => {
      announce(`${answer.recorded} recorded, ${answer.refused} refused`);
      this.results.replaceChildren(...report(answer, gates));
      this.#gates.clear();
      for (const box of document.querySelectorAll("#gates input:checked")) box.checked = false;
      this.#draw();
      this.results.focus();
      await this.decided();
    });
  }
}

function report({ results, recorded, refused }, gates) {
  const goals = new Map(gates.map((gate) => [gate.runId, gate.goal]));
  const line = ({ runId, outcome, problem, approvals }) => el("li", { class: problem ? "bad" : null },
    el("a", { href: `#/runs/${runId}` }, visible(goals.get(runId))), `: ${outcome}`,
    approvals ? `, ${approvals.given} of ${approvals.required} have approved` : "", problem ? `: ${problem.error}` : "");
  return [el("p", {}, `${recorded} recorded, ${refused} refused`), el("ul", { class: "plain" }, results.map(line))];
}
