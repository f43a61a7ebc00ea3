// The plan, for reading and for editing.

import { el, labelled } from "./dom.js";
import { sideBySide, textOf } from "./diff.js";

const LISTS = [["design", "Steps"], ["files", "Files"], ["risks", "Risks"], ["tests", "Tests"]];

export function reading({ plan, patches, version, planSha256, versions }) {
  const lists = LISTS.map(([name, title]) => el("section", {}, el("h3", {}, title),
    plan[name].length ? el("ul", { class: "plain" }, plan[name].map((item) => el("li", {}, item))) : el("p", { class: "quiet" }, "None.")));
  const changed = versions.map((each) => el("li", {}, `Version ${each.version} by ${each.editedBy}, based on ${each.basedOnSha256.slice(0, 12)}…`));
  return el("section", { id: "plan", "aria-labelledby": "plan-title" },
    el("h2", { id: "plan-title" }, "Plan"), lists,
    el("section", {}, el("h3", {}, "Patches"),
      patches.length ? patches.map((patch) => [el("h3", {}, el("code", {}, patch.targetPath)), sideBySide(patch.targetPath, patch.before, patch.after)]).flat()
        : el("p", { class: "quiet" }, "No file is changed.")),
    el("p", { class: "quiet" }, `Version ${version}, sha256 `, el("code", {}, planSha256)),
    changed.length ? el("ul", { class: "plain" }, changed) : null);
}

// Fields for every part; `read` gives the changed plan.
export function editing({ plan, patches }) {
  const lists = LISTS.map(([name, title]) => [name, el("textarea", { value: plan[name].join("\n") }), title]);
  const texts = patches.map((patch) => [patch, el("textarea", { class: "code", spellcheck: "false", value: patch.after }),
    el("input", { type: "checkbox", checked: true })]);
  const nodes = [
    ...lists.map(([, field, title]) => labelled(title, field, "one a line")),
    ...texts.map(([patch, field, keep]) => {
      keep.checked = true;
      const toggle = labelled("Keep this patch", keep);
      toggle.firstChild.prepend(keep);
      return el("fieldset", {}, el("legend", {}, patch.targetPath), toggle, labelled("Content after the patch", field));
    }),
  ];
  function read() {
    const changed = { goal: plan.goal };
    for (const [name, field] of lists) changed[name] = field.value.split("\n").map((line) => line.trim()).filter(Boolean);
    const selected = texts.filter(([, , keep]) => keep.checked).map(([patch, field]) => (field.value === patch.after
      ? { targetPath: patch.targetPath, postimageContent: patch.after, diffText: patch.diffText }
      : { targetPath: patch.targetPath, postimageContent: field.value, diffText: textOf(patch.targetPath, patch.before, field.value) }));
    if (selected.length) changed.patchPlan = selected;
    if (plan.ask) changed.ask = plan.ask;
    return changed;
  }
  return { nodes, read };
}
