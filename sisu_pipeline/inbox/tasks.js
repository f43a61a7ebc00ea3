// The tasks of a run that have ended, the failed ones first: test, command, result, and what they wrote.

import { artifactPath, get } from "./api.js";
import { el } from "./dom.js";
import { visible } from "./hidden.js";

const PAGE = 50, MOST_LINES = 20;

const page = (id, result, after = -1) => get(`/runs/${id}/tasks?result=${result}&limit=${PAGE}&after=${after}`);

export async function loadTasks({ runId }) {
  const [failed, passed] = await Promise.all([page(runId, "failed"), page(runId, "passed")]);
  return { failed, passed };
}

// What a person wants to know first about a failed run: which test, and what it wrote last.
export function firstFailure(run, tasks) {
  const first = tasks?.failed.tasks[0];
  if (!first) return null;
  return el("section", { id: "failure", "aria-labelledby": "failure-title" },
    el("h2", { id: "failure-title" }, "First failure: ", el("code", {}, visible(first.test ?? first.command))),
    el("p", { class: "facts" }, el("span", { class: "bad" }, outcomeOf(first)), el("span", {}, seconds(first)), ...logLinks(first)), tail(first));
}

export function taskSection(run, tasks) {
  const rows = el("tbody", {});
  const more = el("button", { type: "button", onclick: load }, "Show more tasks");
  const columns = ["Task", "Test", "Result", "Exit", "Time", "Output"];
  let next = tasks;
  append();
  return el("section", { id: "tasks" }, el("h2", {}, "Tasks"),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table of tasks" },
      el("table", {}, el("thead", {}, el("tr", {}, columns.map((name) => el("th", { scope: "col" }, name)))), rows)), more);

  function append() {
    for (const result of ["failed", "passed"]) rows.append(...(next[result]?.tasks ?? []).flatMap(row));
    more.hidden = !follows("failed") && !follows("passed");
  }

  function follows(result) {
    return (next[result]?.nextAfter ?? null) !== null;
  }

  async function load() {
    more.disabled = true;
    try {
      const [failed, passed] = await Promise.all(["failed", "passed"].map((result) => (follows(result) ? page(run.runId, result, next[result].nextAfter) : null)));
      next = { failed, passed };
      const before = rows.childElementCount;
      append();
      rows.children[before]?.querySelector("summary").focus();
    } catch (error) {
      more.after(el("p", { class: "bad", role: "alert" }, error.message));
    }
    more.disabled = false;
  }
}

function row(task) {
  return el("tr", {}, [String(task.position),
    el("details", {}, el("summary", {}, el("code", {}, visible(task.test ?? task.command))), el("p", {}, "Command ", el("code", {}, visible(task.command))), tail(task)),
    el("span", { class: task.errCode === "NONE" ? "good" : "bad" }, task.result), String(task.exit), seconds(task), logLinks(task)].map((cell) => el("td", {}, cell)));
}

const outcomeOf = ({ result, errCode, exit }) => (errCode === "CMD_NONZERO" ? `${result}, exit ${exit}` : result);

const seconds = ({ wallMs }) => `${(wallMs / 1000).toFixed(1)} s`;

function logLinks({ stdoutUri, stderrUri, position }) {
  const link = (uri, name) => el("a", { href: artifactPath(uri), "aria-label": `${name} of task ${position}` }, name);
  return [link(stdoutUri, "stdout"), " ", link(stderrUri, "stderr")];
}

// The last lines of the errors, or of the output of a task that wrote no errors.
function tail({ stdoutTail, stderrTail, position }) {
  const [name, text] = stderrTail.trim() ? ["stderr", stderrTail] : ["stdout", stdoutTail];
  const lines = text.trimEnd().split("\n");
  if (!text.trim()) return el("p", { class: "quiet" }, "The task wrote nothing.");
  return el("div", { class: "scroll log", tabindex: "0", role: "region", "aria-label": `End of ${name} of task ${position}` }, el("pre", {}, visible(lines.slice(-MOST_LINES).join("\n"))));
}
