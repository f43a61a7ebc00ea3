// The plan, for reading and for editing.

import { el, labelled } from "./dom.js";
import { tracked, withItems, withLineEnds } from "./edits.js";
import { visible } from "./hidden.js";
import { patchTitle, remarksOf, review } from "./review.js";

const LISTS = [["design", "Design"], ["files", "Files"], ["risks", "Risks"], ["tests", "Tests"]];

export function reading(shown, canComment) {
  const { plan, complete, version, planSha256, versions } = shown;
  const lists = LISTS.map(([name, title]) => el("section", {}, el("h3", {}, title),
    plan[name].length ? el("ul", { class: "plain" }, plan[name].map((item) => el("li", {}, visible(item)))) : el("p", { class: "quiet" }, "None.")));
  const changed = versions.map((each) => el("li", {}, `Version ${each.version} by ${author(each)}, sha256 ${each.planSha256.slice(0, 12)}…, based on ${each.basedOnSha256.slice(0, 12)}…`));
  return el("section", { id: "plan", "aria-labelledby": "plan-title" },
    el("h2", { id: "plan-title" }, "Plan"), execution(complete), lists,
    review(shown, canComment),
    el("p", { class: "quiet" }, `Version ${version}, sha256 `, el("code", {}, planSha256)),
    changed.length ? el("ul", { class: "plain" }, changed) : null);
}

const author = ({ editedBy, agent, model, requestedBy }) =>
  (requestedBy ? `${agent ?? editedBy}${model ? ` (${model})` : ""} at the request of ${requestedBy}` : editedBy);

// Everything that is executed once the plan is approved.
function execution(complete) {
  if (!complete) return el("p", { class: "notice" }, "Release 0.2.0 compiled this plan: it does not name the commands that will run.");
  const { tasks, recipe, policy, base, push, setup } = complete;
  const version = ({ id, version: number, sha256 }) => `${id} version ${number}, sha256 ${sha256}`;
  const facts = [...(setup ? [["Setup", setupOf(setup)]] : []), ...[...new Set(tasks.map(sandboxOf))].map((sandbox) => ["Sandbox", sandbox]), ["Recipe", version(recipe)], ["Policy", version(policy)],
    ["Base", `${base.commit ? `commit ${base.commit}` : "no commit"}, files sha256 ${base.filesSha256}`],
    ...(push ? [["Push", complete.changes.length ? `branch ${push.branch} to ${push.remote}, once the run has succeeded`
      : "nothing, because the plan changes no file"]] : [])];
  return el("section", { id: "execution" },
    setup ? [el("h3", {}, "Prepare command"), el("ul", { class: "plain" }, el("li", {}, el("code", {}, visible(setup.command))))] : null,
    el("h3", {}, tasks.length === 1 ? "Command" : `Commands (${tasks.length})`),
    el("ul", { class: "plain" }, tasks.map((task) => el("li", {}, el("code", {}, visible(task.command))))),
    el("dl", {}, facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, visible(value))])));
}

function setupOf({ lockFiles, provider, hosts, timeoutMs, memMB, diskMB, cpu }) {
  return `files ${lockFiles.join(", ")}, provider ${provider}, network ${hosts.join(", ") || "off"}, time limit ${timeoutMs} ms, `
    + `memory ${memMB} MiB, disk ${diskMB} MiB, CPUs ${cpu}`;
}

function sandboxOf({ provider, net, timeoutMs, memMB, cpu, environment, template }) {
  const prebuilt = template.id ? `, prebuilt ${template.id}` : "";
  return `provider ${provider}, network ${net ? "on" : "off"}, time limit ${timeoutMs} ms, memory ${memMB} MiB, CPUs ${cpu}, `
    + `environment ${environment}, template ${template.key}${prebuilt}`;
}

// Fields for every part; `read` gives the changed plan, with the original bytes of all that was not edited.
export function editing({ plan, patches }) {
  const area = (value, original, edit, attributes = {}) => tracked(el("textarea", { value, ...attributes }), original, edit);
  const lists = LISTS.map(([name, title]) => {
    // An item with a line break cannot be edited one a line.
    const isPlain = !plan[name].some((item) => /[\r\n]/.test(item));
    const items = area(plan[name].join("\n"), plan[name], (text) => withItems(plan[name], text), { readonly: !isPlain });
    return { name, title, items, hint: isPlain ? "one a line" : "has items of several lines, edit it with sisu gate approve --edited" };
  });
  const command = plan.testCommand ? area(plan.testCommand, plan.testCommand, (text) => withLineEnds(plan.testCommand, text), { class: "code", rows: "2", spellcheck: "false" }) : null;
  const edits = patches.map((patch, index) => {
    const { diffText: _, ...planned } = plan.patchPlan[index];
    // A file that is deleted or not text has no field.
    const withText = (text) => ({ ...planned, postimageContent: withLineEnds(patch.after, text), contentBase64: null });
    const content = patch.after === null ? null : area(patch.after, planned, withText, { class: "code", spellcheck: "false" });
    return { patch, planned, keep: el("input", { type: "checkbox" }), content };
  });
  const nodes = [
    ...lists.map(({ title, items, hint }) => labelled(title, items.field, hint)),
    ...(command ? [labelled("Command", command.field, "each test is appended after a space")] : []),
    ...edits.map(({ patch, keep, content }) => {
      keep.checked = true;
      const toggle = labelled("Keep this patch", keep);
      toggle.firstChild.prepend(keep);
      return el("fieldset", {}, el("legend", {}, patchTitle(patch)), toggle, content ? labelled("Content after the patch", content.field)
        : remarksOf(patch));
    }),
  ];
  function read() {
    const changed = { ...plan };
    for (const { name, items } of lists) changed[name] = items.read();
    if (command) changed.testCommand = command.read();
    const selected = edits.filter(({ keep }) => keep.checked).map(({ planned, content }) => (content ? content.read() : planned));
    changed.patchPlan = selected.length ? selected : null;
    return changed;
  }
  return { nodes, read };
}
