// The verbs of a gate: approve, edit, request changes, reject, answer. Each is bound to the plan that was read.

import { post } from "./api.js";
import { commentText, countComments, dropComments, onComments } from "./comments.js";
import { el, labelled, announce } from "./dom.js";
import { clearFaults, showFaults } from "./faults.js";
import { perform } from "./focus.js";
import { formOf } from "./form.js";
import { visible } from "./hidden.js";
import { editing } from "./plan.js";
import { mayDecide, nameField, nameOf } from "./session.js";
import { age, deadline } from "./time.js";

const MOST_COMMENT = 10_000;

export function gateSection(gate, plan, changed) {
  const facts = el("p", { class: "facts" }, el("span", {}, "opened ", age(gate.openedAt)), el("span", {}, deadline(gate)),
    gate.approvals ? el("span", {}, `${gate.approvals.given} of ${gate.approvals.required} have approved`) : null);
  const title = gate.purpose === "ask-user" ? visible(gate.form.question) : "Your decision";
  const body = !mayDecide() ? el("p", { class: "notice" }, "Your token permits reading only.")
    : gate.purpose === "ask-user" ? question(gate, changed) : decision(gate, plan, changed);
  return el("section", { id: "gate", "aria-labelledby": "gate-title" }, el("h2", { id: "gate-title" }, title), facts, body);
}

function question(gate, changed) {
  const fields = formOf(gate.form);
  const name = nameField();
  const fault = alertLine();
  const send = el("button", { class: "main" }, "Answer");
  const form = el("form", { id: "answer", onsubmit: submit }, ...fields.nodes, name && labelled("Your name", name), fault,
    el("div", { class: "verbs" }, send));
  return form;

  function submit(event) {
    event.preventDefault();
    clearFaults(form);
    attempt(fault, [send], "Answered", changed, async () => post(`/runs/${gate.runId}/gates/${gate.gateKey}/answer`,
      { answeredBy: nameOf(name), answer: fields.read() })).then((error) => showFaults(form, error?.details ?? []));
  }
}

// What people requested and what became of it; the last failure is shown where the next decision is made.
export function changesSection({ changes }) {
  if (!changes?.rounds.length) return null;
  const rows = changes.rounds.map((round) => el("li", {}, `${round.requestedBy}: `, visible(round.comment), " — ",
    round.version ? `version ${round.version}` : round.error ? ["failed: ", visible(round.error)] : "a coding agent is planning", ", ", age(round.requestedAt)));
  return el("section", { id: "changes", "aria-labelledby": "changes-title" }, el("h2", { id: "changes-title" }, "Requested changes"),
    el("ul", { class: "plain" }, rows), el("p", { class: "quiet" }, `${changes.rounds.length} of ${changes.allowed} requests used.`));
}

export function planningNotice(gate) {
  const { requestedBy } = gate.changes.rounds.at(-1);
  return el("p", { class: "notice", id: "revising" }, `A coding agent is making the changes that ${requestedBy} requested. The decision opens again with its plan.`);
}

export const canRequestChanges = (gate) => mayDecide() && gate.changes.rounds.length < gate.changes.allowed;

// A field for the changes and the button that sends it, shown on demand.
function changeRequest(gate, plan, name, fault, verbs, changed) {
  const comment = el("textarea", { name: "comment", oninput: check });
  const send = el("button", { type: "button", id: "send-changes", onclick: request }, "Send the request");
  const panel = el("div", { id: "change-request", hidden: true }, labelled("What to change", comment, "for the coding agent, which plans again"), el("div", { class: "verbs" }, send));
  const open = el("button", { type: "button", id: "request-changes", "aria-expanded": "false", onclick: toggle }, "Request changes…");
  let filled = "";
  onComments(open, fill);
  fill();
  return { panel, open, send };

  // The comments on lines are part of the text, beside what a person writes here.
  function fill() {
    const text = commentText(plan.planSha256, plan.patches.map((patch) => patch.targetPath));
    const written = filled && comment.value.includes(filled) ? comment.value.replace(filled, () => text) : [comment.value, text].filter(Boolean).join("\n\n");
    if (text !== filled) comment.value = written.trim();
    comment.defaultValue = filled = text;
    const count = countComments(plan.planSha256);
    open.textContent = count ? `Request changes (${count} comment${count === 1 ? "" : "s"})…` : "Request changes…";
    check();
  }

  function check() {
    const length = [...comment.value].length;
    comment.setCustomValidity(length > MOST_COMMENT ? `Enter at most ${MOST_COMMENT} characters (now ${length}).` : "");
  }

  function toggle() {
    panel.hidden = !panel.hidden;
    open.setAttribute("aria-expanded", String(!panel.hidden));
    if (!panel.hidden) comment.focus();
  }

  function request() {
    comment.required = true;
    const complete = comment.reportValidity();
    comment.required = false;
    if (!complete) return;
    const body = { requestedBy: nameOf(name), comment: comment.value, planSha256: plan.planSha256 };
    attempt(fault, verbs(), "Changes requested", changed, async () => {
      const answer = await post(`/runs/${gate.runId}/request-changes`, body);
      dropComments(plan.planSha256);
      return answer;
    });
  }
}

function decision(gate, plan, changed) {
  const name = nameField();
  const notes = el("textarea", { name: "notes" });
  const fault = alertLine();
  const approve = el("button", { class: "main", type: "submit", id: "approve" }, "Approve");
  const edit = el("button", { type: "button", id: "edit", "aria-expanded": "false", onclick: openEditor }, "Edit…");
  const reject = el("button", { class: "no", type: "button", id: "reject", onclick: sayNo }, "Reject");
  const editor = el("div", { id: "editor" });
  const all = () => [approve, edit, reject, request.open, request.send];
  const request = changeRequest(gate, plan, name, fault, all, changed);
  let edited = null;
  return el("form", { id: "decide", onsubmit: submit }, name && labelled("Your name", name),
    labelled("Reason", notes, "recorded with the decision; required for a rejection"), editor, request.panel, fault,
    el("div", { class: "verbs" }, approve, edit, canRequestChanges(gate) ? request.open : null, reject));

  function openEditor() {
    if (edited) {
      edited = null;
      editor.replaceChildren();
      approve.textContent = "Approve";
      edit.textContent = "Edit…";
      edit.setAttribute("aria-expanded", "false");
      return;
    }
    edited = editing(plan);
    editor.replaceChildren(el("h3", {}, "Your version of the plan"), ...edited.nodes);
    approve.textContent = "Approve the edited plan";
    edit.textContent = "Discard the edit";
    edit.setAttribute("aria-expanded", "true");
    editor.querySelector("textarea").focus();
  }

  function submit(event) {
    event.preventDefault();
    const body = { approvedBy: nameOf(name), notes: notes.value || null, planSha256: plan.planSha256 };
    if (edited) body.plan = edited.read();
    attempt(fault, all(), "Approved", changed, () => post(`/runs/${gate.runId}/approve-plan`, body));
  }

  function sayNo() {
    notes.required = true;
    const form = reject.closest("form");
    const complete = form.reportValidity();
    notes.required = false;
    if (!complete) return;
    const body = { rejectedBy: nameOf(name), reason: notes.value, planSha256: plan.planSha256 };
    attempt(fault, all(), "Rejected", changed, () => post(`/runs/${gate.runId}/reject-plan`, body));
  }
}

const alertLine = () => el("p", { class: "bad", role: "alert" });

async function attempt(fault, buttons, done, changed, work) {
  const error = await perform(fault, buttons, work, async ({ approvals }) => {
    announce(approvals ? `${done}: ${approvals.given} of ${approvals.required}` : done);
    await changed();
  });
  // Another person was first: what was typed stays until it is no longer needed.
  if (error?.code === "decision_conflict" && buttons[0].isConnected) {
    const show = el("button", { type: "button", class: "main", id: "show-decision", onclick: changed }, "Show the run as it is now");
    buttons[0].closest(".verbs").replaceChildren(show);
    show.focus({ preventScroll: true });
  }
  return error;
}
