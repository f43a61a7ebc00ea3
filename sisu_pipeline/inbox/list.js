// The inbox: open gates, active runs and finished runs.

import { namesOf } from "./assign.js";
import { el } from "./dom.js";
import { escaped, visible } from "./hidden.js";
import { age, deadline } from "./time.js";

export function heading(inbox) {
  return [
    el("h1", {}, inbox.gates.length ? `${counted(inbox)} waiting for a decision` : "No gate waits for a decision"),
    inbox.stranded.map(stranded),
  ].flat();
}

export function runs(inbox, dagsterUrl) {
  return [
    section(shortened("Running", inbox.active, inbox.activeCount), "active", inbox.active.map(activeCard), "No run is active."),
    section("Finished", "finished", inbox.finished.map((run) => finishedCard(run, dagsterUrl)), "No run has finished yet."),
  ].flat();
}

export const counted = ({ gateCount }) => `${gateCount}${gateCount < 10000 ? "" : " or more"}`;

function shortened(title, shown, count) {
  return count > shown.length ? `${title}: ${part(shown, count)}` : title;
}

function part(shown, count) {
  return `${shown.length} of ${count}${count < 10000 ? "" : " or more"}`;
}

function section(title, id, cards, nothing) {
  return el("section", { "aria-labelledby": `${id}-title` }, el("h2", { id: `${id}-title` }, title),
    cards.length ? el("ul", { class: "cards", id }, cards) : el("p", { class: "quiet" }, nothing));
}

function stranded(work) {
  const count = `${work.enqueued} piece${work.enqueued === 1 ? "" : "s"} of work`;
  return el("p", { class: "notice", role: "alert" },
    `${count} on ${work.queueName} wait for version ${work.appVersion}, and no worker of that version runs. ` +
    "Start one with that DBOS__APPVERSION.");
}

// A link needs a text.
const goalOf = ({ goal }) => (goal.trim() ? visible(goal) : "(blank goal)");

export function gateCard(gate, box) {
  const what = gate.purpose !== "ask-user" ? "Plan to approve" : gate.form.question === "Question" ? "Question" : `Question: ${gate.form.question}`;
  const votes = gate.approvals ? el("span", {}, `${gate.approvals.given} of ${gate.approvals.required} have approved`) : null;
  return el("li", { class: "card", "data-run": gate.runId },
    el("h3", {}, box, el("a", { href: `#/runs/${gate.runId}` }, goalOf(gate))),
    el("p", { class: "facts" }, el("span", {}, what), el("span", {}, "opened ", age(gate.openedAt)),
      el("span", {}, deadline(gate)), votes, gate.tenantId ? el("span", {}, `tenant ${gate.tenantId}`) : null, asks(gate.asked)));
}

function asks(asked) {
  const names = namesOf(asked);
  return names ? el("span", {}, "asks ", visible(names)) : null;
}

function activeCard(run) {
  const { tasks } = run;
  const bar = tasks.total
    ? el("span", {}, el("progress", { max: tasks.total, value: tasks.finished, "aria-label": `Tasks of ${escaped(run.goal)}` }),
      ` ${tasks.finished} of ${tasks.total} tasks`, tasks.failed ? `, ${tasks.failed} failed` : "")
    : el("span", {}, run.nextAction === "PLAN" ? "a coding agent is planning" : run.lastStep ? `after ${run.lastStep}` : "not started yet");
  return el("li", { class: "card" }, el("h3", {}, el("a", { href: `#/runs/${run.runId}` }, goalOf(run))),
    el("p", { class: "facts" }, el("span", {}, run.status), bar, el("span", {}, "since ", age(run.createdAt))), waitingLimit(run));
}

// The limit that a run waits for, so that its submitter knows what to change.
export function waitingLimit({ waitsFor }) {
  return waitsFor ? el("p", { class: "quiet" }, `Waits for a limit: ${escaped(waitsFor)}.`) : null;
}

function finishedCard(run, dagsterUrl) {
  return el("li", { class: "card" }, el("h3", {}, el("a", { href: `#/runs/${run.runId}` }, goalOf(run))),
    el("p", { class: "facts" }, outcome(run), el("span", {}, age(run.updatedAt)), ...lineage(run, dagsterUrl)),
    run.error ? el("p", { class: "quiet" }, visible(run.error)) : null);
}

export function outcome(run) {
  return el("span", { class: run.status === "succeeded" ? "good" : "bad" }, run.outcome === run.status ? run.status : `${escaped(run.outcome)} (${run.status})`);
}

export function lineage(run, dagsterUrl) {
  const partition = encodeURIComponent(run.workflowId);
  return [
    el("a", { href: `${dagsterUrl}/assets/execution?view=partitions&partition=${partition}`, rel: "noreferrer" }, "Lineage"),
    run.dagsterRunId ? el("a", { href: `${dagsterUrl}/runs/${encodeURIComponent(run.dagsterRunId)}`, rel: "noreferrer" }, "Dagster run") : null,
  ];
}
