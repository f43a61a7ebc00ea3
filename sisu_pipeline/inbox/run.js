// One run: its gate, plan, progress, artifacts and interactions.

import { artifactPath, get } from "./api.js";
import { assignment, loadAsked } from "./assign.js";
import { el } from "./dom.js";
import { canRequestChanges, changesSection, gateSection, planningNotice } from "./gate.js";
import { visible } from "./hidden.js";
import { lineage, waitingLimit } from "./list.js";
import { reading } from "./plan.js";
import { results } from "./results.js";
import { session } from "./session.js";
import { firstFailure, loadTasks, taskSection } from "./tasks.js";
import { age, deadline, span } from "./time.js";

const MOST_ARTIFACTS = 100;

export async function load(id) {
  const [run, { gates }, { interactions }] = await Promise.all([get(`/runs/${id}`), get(`/runs/${id}/gates`), get(`/runs/${id}/interactions`)]);
  const [plan, tasks, asked] = await Promise.all([run.steps.length ? get(`/runs/${id}/plan`) : null, run.tasks.finished ? loadTasks(run) : null, loadAsked(id, gates)]);
  const goal = plan ? plan.plan.goal : (await get(`/history?run=${run.runId}&limit=1`)).events[0]?.goal;
  return { run, gates, interactions, plan, tasks, asked, title: goal?.trim() ? goal : run.runId };
}

export function picture({ run, gates, interactions, plan, tasks, asked, title }, changed, output) {
  const waiting = gates.filter((gate) => gate.state === "waiting" && gate.purpose === "approve-plan");
  const plans = gates.filter((gate) => gate.purpose === "approve-plan");
  const asking = gates.filter((gate) => gate.state === "waiting" && gate.purpose === "ask-user");
  return [
    el("p", {}, el("a", { href: "#/" }, "← Inbox")),
    el("h1", {}, visible(title)),
    el("div", { id: "progress" }, progress(run)),
    firstFailure(run, tasks), isEnded(run) ? results(run, plan) : null,
    output.section,
    tasks ? taskSection(run, tasks) : null,
    ...asking.map((gate) => gateSection(gate, plan, changed)),
    ...waiting.map(shortcut),
    plan ? reading(plan, waiting.some(canRequestChanges)) : el("p", { class: "quiet" }, run.nextAction === "PLAN" ? "A coding agent is making the plan." : "There is no plan yet."),
    planning(run),
    ...plans.map(changesSection),
    ...plans.filter((gate) => gate.state === "planning").map(planningNotice),
    ...waiting.map((gate) => gateSection(gate, plan, changed)),
    assignment(run, asked, changed),
    interactionTable(interactions), steps(run), isEnded(run) ? null : results(run, plan), artifacts(run), identity(run),
  ];
}

// The plan is read first; who has read it gets to the decision at once.
function shortcut(gate) {
  const go = () => document.querySelector("#decide input, #decide textarea")?.focus();
  return el("p", { class: "facts" }, el("button", { type: "button", onclick: go }, "Go to the decision"), el("span", {}, deadline(gate)));
}

export function progress(run) {
  const { tasks, decision } = run;
  return [
    el("p", { class: "facts" }, isEnded(run) ? ending(run) : el("span", {}, run.status), el("span", {}, "started ", age(run.createdAt)),
      decision ? el("span", {}, `${decision.decision} by ${voters(decision)}`) : null, ...lineage(run, session.dagsterUrl)),
    isEnded(run) && run.error ? el("p", { class: "quiet" }, visible(run.error)) : null,
    tasks.total ? el("p", {}, el("progress", { max: tasks.total, value: tasks.finished, "aria-label": "Tasks", class: tasks.failed ? "bad" : isEnded(run) ? "good" : null }),
      ` ${tasks.finished} of ${tasks.total} tasks${tasks.failed ? `, ${tasks.failed} failed` : ""}`) : null,
    waitingLimit(run),
  ].filter(Boolean);
}

// The outcome for people, with the name of the status for those who know the engine.
function ending({ status, outcome }) {
  return el("span", { class: status === "succeeded" ? "good" : "bad" }, outcome === status ? status : [visible(outcome), el("span", { class: "quiet" }, ` (${status})`)]);
}

const voters = ({ votes, decidedBy }) => votes.map((vote) => `${vote.person} (${vote.channel ?? "–"})`).join(", ") || decidedBy;

export const isEnded = (run) => ["succeeded", "failed", "canceled", "retries_exceeded"].includes(run.status);

function table(title, columns, rows) {
  const head = el("tr", {}, columns.map((name) => el("th", { scope: "col" }, name)));
  const body = rows.map((row) => el("tr", {}, row.map((cell) => el("td", {}, cell))));
  return el("section", {}, el("h2", {}, title),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": title }, el("table", {}, el("thead", {}, head), el("tbody", {}, body))));
}

function planning({ planning: made }) {
  if (!made) return null;
  const limit = [made.maxPlanTokens && `${made.maxPlanTokens} tokens`, made.maxPlanCostUSD && `$${made.maxPlanCostUSD}`].filter(Boolean).join(", ");
  const title = limit ? `Coding agent (at most ${limit})` : "Coding agent";
  return table(title, ["Agent", "Model", "Tokens", "Cost", "Took", "Result", "Transcript"], made.sessions.map((each) => [
    visible(each.agent), visible(each.model ?? "–"), String(each.tokens), each.costUSD === null ? "–" : `$${each.costUSD.toFixed(4)}`,
    `${(each.durationMs / 1000).toFixed(1)} s`, visible(each.error ?? "a plan"), el("a", { href: artifactPath(each.transcriptUri) }, name(each.transcriptUri))]));
}

function interactionTable(interactions) {
  if (!interactions.length) return null;
  const words = ({ payload }) => payload.notes || payload.comment || (payload.answer ? JSON.stringify(payload.answer) : "") || payload.outcome || "";
  return table("Interactions", ["Name", "Interaction", "Channel", "Reason or answer", "Time"],
    interactions.map((each) => [each.actor, each.kind, each.channel ?? "–", words(each), age(each.createdAt)]));
}

// The steps take moments: the time of a run is the wait for approval and the time of its tasks.
function steps(run) {
  if (!run.steps.length) return null;
  const of = (name) => run.steps.find((step) => step.stepId === name);
  const waits = { DecideST: ["Wait for approval", run.gate?.openedAt, run.decision?.decidedAt],
    ExecuteST: ["Tasks", run.tasks.finished ? of("DecideST")?.finishedAt : null, isEnded(run) ? run.updatedAt : null] };
  const rows = ["CompileST", "ApplyPatchST", "DecideST", "ExecuteST"].flatMap((name) => {
    const [title, start, end] = waits[name] || [];
    const step = of(name);
    return [start && end && start < end ? [title, "–", took(start, end)] : null,
      step ? [name, String(step.attempt), took(step.startedAt, step.finishedAt)] : null].filter(Boolean);
  });
  return table("Steps", ["Step", "Attempt", "Took"], rows);
}

function took(start, end) {
  const seconds = (Date.parse(end) - Date.parse(start)) / 1000;
  return seconds < 90 ? `${seconds.toFixed(1)} s` : span(1000 * seconds);
}

function artifacts(run) {
  const rows = run.artifacts.slice(0, MOST_ARTIFACTS).map((each) => [
    el("a", { href: artifactPath(each.uri) }, name(each.uri)), each.stepId, each.taskKey.slice(0, 12) || "–", each.kind, el("code", {}, each.sha256.slice(0, 16))]);
  if (!rows.length) return null;
  const title = run.artifactCount > rows.length ? `Artifacts (${rows.length} of ${run.artifactCount})` : "Artifacts";
  return table(title, ["Name", "Step", "Task", "Kind", "sha256"], rows);
}

// artifact://run/<run>/step/<step>/task/<task>/<name>: a file's name may have slashes.
const name = (uri) => uri.split("/").slice(8).join("/");

function identity(run) {
  const facts = [["Run", run.runId], ["Intent", run.intentId], ["Recipe", run.recipeRef.id], ["Partition", run.queuePartitionKey], ["Lane", run.lane]];
  return el("section", {}, el("h2", {}, "Identity"), el("dl", {}, facts.map(([term, value]) => [el("dt", {}, term), el("dd", {}, el("code", {}, value))]).flat()));
}
