// What a person takes out of a run: files, and commands for a checkout.

import { announce, el } from "./dom.js";
import { visible } from "./hidden.js";

// The commit exists once the plan is approved.
export function results(run, plan) {
  const hasPatches = Boolean(plan?.patches.length);
  if (!hasPatches && !run.tasks.finished) return null;
  const isCommit = hasPatches && plan.complete?.base.commit && run.decision?.decision === "approved";
  const files = [...(hasPatches ? [["Patch", "patch"], ["Changed files", "files.zip"]] : []), ...(isCommit ? [["Bundle with the commit", "bundle"]] : []),
    ...(run.tasks.finished ? [["Logs", "logs"]] : [])];
  const commands = [...(hasPatches ? [`sisu run apply ${run.runId}`] : []), ...(isCommit ? [`sisu run apply ${run.runId} --branch`] : [])];
  return el("section", { id: "results" }, el("h2", {}, "Result"),
    el("p", { class: "verbs" }, files.map(([title, path]) => el("a", { href: `/runs/${run.runId}/${path}`, download: "", class: "button" }, title))),
    pushed(run), hasPatches ? el("p", { class: "quiet" }, "In a checkout of the files:") : null, ...commands.map(command));
}

function pushed({ push }) {
  if (!push) return null;
  const { state, remote, branch, commit, error, attempts } = push;
  const where = ["branch ", el("code", {}, visible(branch)), " to ", el("code", {}, visible(remote))];
  if (state === "pushed") return el("p", { id: "push" }, "Pushed ", ...where, ", commit ", el("code", {}, commit));
  if (state === "failed") return el("p", { id: "push", class: "bad" }, "Failed to push ", ...where, `: ${visible(error)}`);
  return el("p", { id: "push", class: "quiet" }, "Pushing ", ...where, error ? `; attempt ${attempts} failed: ${visible(error)}` : "");
}

// Browsers offer their clipboard to secure contexts only: https, and this machine.
function command(text) {
  const copy = el("button", { type: "button", "aria-label": `Copy ${text}`, onclick: write }, "Copy");
  return el("p", { class: "facts" }, el("code", {}, text), navigator.clipboard ? copy : null);

  async function write() {
    try {
      await navigator.clipboard.writeText(text);
      announce("Copied");
    } catch {
      announce("The browser does not allow copying; select the command instead.");
    }
  }
}
