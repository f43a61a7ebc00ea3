// The changes of a plan for review: a list of the files, a section per file, and ways from change to change.

import { countsOf } from "./diff_lines.js";
import { DiffTable, isText, plainDiff } from "./diff.js";
import { announce, el } from "./dom.js";
import { visible } from "./hidden.js";

const VIEWED = "sisu-viewed";
const MOST_VIEWED = 2000;
// Files beyond this many changed lines are drawn when they come near the screen.
const MOST_AT_ONCE = 1000;

export function review(plan, canComment) {
  const { patches } = plan;
  if (!patches.length) return el("section", {}, el("h3", {}, "Changes"), el("p", { class: "quiet" }, "No file is changed."));
  let drawn = 0;
  const files = patches.map((patch) => {
    const file = new FileSection(patch, canComment ? plan.planSha256 : null, () => mark());
    drawn += file.size;
    if (drawn <= MOST_AT_ONCE) file.draw();
    else file.drawWhenNear();
    return file;
  });
  const total = files.reduce((sum, { counts }) => ({ added: sum.added + (counts?.added || 0), removed: sum.removed + (counts?.removed || 0) }), { added: 0, removed: 0 });
  const progress = el("span", {});
  const place = { file: -1, change: 0 };
  const section = el("section", { id: "review", onkeydown: keys },
    el("h3", {}, `Changes in ${patches.length} file${patches.length === 1 ? "" : "s"} `, sums(total)),
    el("ul", { class: "files", "aria-label": "Changed files" }, files.map((file) => file.entry)),
    el("div", { class: "bar", role: "toolbar", "aria-label": "Changes" },
      el("button", { type: "button", class: "small", id: "previous-change", "aria-keyshortcuts": "p", onclick: () => go(-1) }, "Previous change"),
      el("button", { type: "button", class: "small", id: "next-change", "aria-keyshortcuts": "n", onclick: () => go(1) }, "Next change"), progress),
    ...files.map((file) => file.element));
  mark();
  return section;

  function mark() {
    progress.textContent = `${files.filter((file) => file.isViewed).length} of ${files.length} viewed`;
  }

  // The keys work where nobody types.
  function keys(event) {
    const step = { n: 1, p: -1 }[event.key];
    if (!step || event.ctrlKey || event.metaKey || event.altKey || event.target.matches("textarea, input:not([type=checkbox])")) return;
    event.preventDefault();
    go(step);
  }

  function go(step) {
    let { file, change } = place;
    change += step;
    if (file < 0) [file, change] = step > 0 ? [0, 0] : [files.length - 1, Infinity];
    while (files[file]) {
      const row = files[file].isViewed ? null : files[file].rowOf(change);
      if (row) {
        [place.file, place.change] = [file, row.change];
        row.element.scrollIntoView({ block: "center" });
        files[file].focus(row.element);
        announce(`${patches[file].targetPath}: change ${row.change + 1} of ${row.count}`);
        return;
      }
      file += step;
      change = step > 0 ? 0 : Infinity;
    }
    announce(step > 0 ? "This was the last change." : "This was the first change.");
  }
}

// The operation and the paths of a patch, for a heading.
export function patchTitle({ op, fromPath, targetPath }) {
  const path = (name) => el("code", {}, visible(name));
  return op === "rename" ? ["Rename ", path(fromPath), " to ", path(targetPath)] : [`${op[0].toUpperCase()}${op.slice(1)} `, path(targetPath)];
}

export const remarksOf = ({ remarks }) => (remarks.length ? el("ul", { class: "notes" }, remarks.map((note) => el("li", {}, note))) : null);

function sums(counts) {
  return counts ? el("span", { class: "sums" }, el("span", { class: "good" }, `+${counts.added}`), " ", el("span", { class: "bad" }, `−${counts.removed}`)) : el("span", { class: "sums quiet" }, "no lines");
}

class FileSection {
  constructor(patch, planSha256, changed) {
    this.patch = patch;
    this.planSha256 = planSha256;
    this.counts = isText(patch) ? countsOf(patch.diffText) : null;
    this.size = this.counts ? this.counts.added + this.counts.removed : 1;
    this.key = `${patch.targetPath} ${patch.old?.sha256 ?? ""} ${patch.new?.sha256 ?? ""} ${patch.new?.mode ?? ""}`;
    this.table = null;
    this.body = el("div", { class: "file-body" });
    this.check = el("input", { type: "checkbox", "aria-label": `Viewed ${patch.targetPath}`, onchange: () => this.view(changed) });
    this.check.checked = viewed().includes(this.key);
    this.title = el("h4", { tabindex: "-1" }, patchTitle(patch), " ", sums(this.counts));
    this.element = el("section", { class: "file" }, el("div", { class: "file-head" }, this.title, el("label", { class: "viewed" }, this.check, "Viewed")), this.body);
    this.entry = el("li", {}, el("button", { type: "button", class: "link", onclick: () => this.arrive() }, visible(patch.targetPath)), " ", sums(this.counts), el("span", { class: "mark quiet" }));
    this.fold();
  }

  get isViewed() {
    return this.check.checked;
  }

  view(changed) {
    const rest = viewed().filter((key) => key !== this.key);
    localStorage.setItem(VIEWED, JSON.stringify([...rest, ...(this.isViewed ? [this.key] : [])].slice(-MOST_VIEWED)));
    this.fold();
    changed();
  }

  fold() {
    this.body.hidden = this.isViewed;
    this.entry.lastChild.textContent = this.isViewed ? " viewed" : "";
  }

  draw() {
    if (this.body.hasChildNodes()) return;
    this.near?.disconnect();
    if (this.counts) this.table = new DiffTable(this.patch, this.planSha256);
    this.body.append(...[remarksOf(this.patch), this.table ? this.table.element : plainDiff(this.patch)].filter(Boolean));
  }

  drawWhenNear() {
    this.near = new IntersectionObserver((entries) => { if (entries.some((each) => each.isIntersecting)) this.draw(); }, { rootMargin: "800px" });
    this.near.observe(this.element);
  }

  arrive() {
    if (this.isViewed) this.body.hidden = false;
    this.draw();
    this.element.scrollIntoView({ block: "start" });
    this.title.focus({ preventScroll: true });
  }

  // The row of a change, Infinity for the last one; a file without lines is one change.
  rowOf(change) {
    this.draw();
    if (!this.table) return change === 0 || change === Infinity ? { element: this.title, change: 0, count: 1 } : null;
    const count = this.table.rows.filter((row) => row.change !== undefined).length;
    const wanted = Math.min(change, count - 1);
    if (change !== Infinity && change !== wanted) return null;
    const element = wanted < 0 ? null : this.table.anchor(wanted);
    return element ? { element, change: wanted, count } : null;
  }

  focus(row) {
    const target = row.querySelector?.("button.line") || (row === this.title ? row : this.table.element);
    target.focus({ preventScroll: true });
  }
}

function viewed() {
  try {
    return JSON.parse(localStorage.getItem(VIEWED) || "[]");
  } catch {
    return [];
  }
}
