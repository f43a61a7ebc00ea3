// The changes of one file as a table: side by side, or one below the other on a narrow screen. Long ones grow on demand.

import { commentRow, commentsAt } from "./comments.js";
import { blocksOf, rowsOf, unfolded } from "./diff_lines.js";
import { el } from "./dom.js";
import { visible } from "./hidden.js";

const CHUNK = 300;
const CAPTIONS = { create: "New file", modify: "Changed file", delete: "Deleted file", rename: "Renamed file" };
const wide = matchMedia("(min-width: 700px)");
wide.addEventListener("change", () => { for (const each of document.querySelectorAll(".changes")) each.layOut(); });

export const isText = ({ diffText }) => /^@@ /m.test(diffText);

// A diff without lines: nothing changes, or the mode, the name or binary content, whose remarks state size and hash.
export function plainDiff({ diffText }) {
  if (diffText === "") return el("p", { class: "quiet" }, "The file does not change.");
  return el("pre", {}, visible(diffText.replace(/^GIT binary patch\n[^]*/m, "GIT binary patch")));
}

export class DiffTable {
  // `planSha256` is null where nobody can comment.
  constructor(patch, planSha256) {
    this.patch = patch;
    this.planSha256 = planSha256;
    this.blocks = blocksOf(patch);
    this.more = el("tr", { class: "gap" });
    this.observer = new IntersectionObserver((entries) => { if (entries.some((each) => each.isIntersecting)) this.grow(); }, { rootMargin: "600px" });
    this.element = el("div", { class: "scroll changes", tabindex: "0", role: "region", "aria-label": `Changes of ${patch.targetPath}`, onkeydown: (event) => this.move(event) });
    this.element.layOut = () => this.layOut();
    this.layOut();
  }

  layOut() {
    const { op } = this.patch;
    const isOneSided = op === "create" || op === "delete";
    this.isSideBySide = wide.matches && !isOneSided;
    this.rows = rowsOf(this.blocks, this.isSideBySide);
    this.shown = 0;
    this.anchors = [];
    this.body = el("tbody", {});
    const names = this.isSideBySide ? ["Before", "After"] : [{ create: "After", delete: "Before" }[op] || "Before and after"];
    const widths = names.flatMap(() => [el("col", { class: "numbers" }), el("col")]);
    const head = el("tr", {}, names.map((name) => el("th", { scope: "col", colspan: 2 }, name)));
    this.element.replaceChildren(el("table", { class: "diff" }, el("caption", {}, CAPTIONS[op]), el("colgroup", {}, widths), el("thead", {}, head), this.body));
    this.grow();
  }

  get columns() {
    return this.isSideBySide ? 4 : 2;
  }

  grow() {
    const rows = this.rows.slice(this.shown, this.shown + CHUNK);
    this.shown += rows.length;
    this.more.remove();
    this.body.append(...rows.flatMap((row) => this.draw(row)));
    const first = this.body.querySelector("button.line");
    if (first && !this.body.querySelector("button.line[tabindex='0']")) first.tabIndex = 0;
    this.observer.disconnect();
    if (this.shown >= this.rows.length) return;
    const left = this.rows.length - this.shown;
    this.more.replaceChildren(el("td", { colspan: this.columns }, el("button", { type: "button", class: "small", onclick: () => this.grow() }, `Show more of ${left} lines`)));
    this.body.append(this.more);
    this.observer.observe(this.more);
  }

  draw(row) {
    if (row.fold) return [this.fold(row)];
    const { left, right, kind } = row;
    const made = el("tr", {}, this.isSideBySide ? [...this.side(left, "−", "removed", kind, true), ...this.side(right, "+", "added", kind)]
      : this.side(right || left, right ? "+" : "−", right ? "added" : "removed", kind, !right));
    if (row.change !== undefined) this.anchors[row.change] = made;
    const notes = this.planSha256 ? [left && kind !== "same" && [left, true], right && [right, false]].filter(Boolean).flatMap(([line, isOld]) =>
      commentsAt(this.planSha256, this.patch.targetPath, line.number, isOld).map((note) => commentRow(note, this.columns))) : [];
    return [made, ...notes];
  }

  side(line, mark, style, kind, isOld = false) {
    const isChange = kind !== "same";
    // The lines of one side only are commented twice at most: an unchanged line on its new side.
    const canComment = this.planSha256 && line && (isChange || !isOld);
    const number = !line ? "" : canComment ? el("button", { type: "button", class: "line", tabindex: "-1", "aria-label": `Comment on line ${line.number}`,
      onclick: (event) => this.comment(event.target, line, isChange && isOld) }, String(line.number)) : String(line.number);
    return [el("td", { class: "number" }, number),
      el("td", { class: isChange && line ? style : "" }, line ? [isChange ? `${mark} ` : "  ", ...content(line, isChange)] : "")];
  }

  comment(button, line, isOld) {
    const note = { planSha256: this.planSha256, path: this.patch.targetPath, number: line.number, isOld, line: line.text, text: "" };
    let last = button.closest("tr"), written = null;
    // Both sides of a row may have a comment.
    while (last.nextElementSibling?.matches(".comment")) {
      last = last.nextElementSibling;
      if (last.dataset.isOld === String(isOld)) written = last;
    }
    if (!written) last.after(written = commentRow(note, this.columns, button));
    written.querySelector("textarea, button").focus();
  }

  fold({ fold }) {
    const { length } = fold;
    const text = `${length} unchanged line${length === 1 ? "" : "s"}`;
    const row = el("tr", { class: "gap" });
    const show = () => {
      const blocks = unfolded(fold, this.patch.before);
      this.blocks.splice(this.blocks.findIndex((each) => each.fold === fold), 1, ...blocks);
      const rows = rowsOf(blocks, this.isSideBySide);
      const drawn = rows.flatMap((each) => this.draw(each));
      this.rows.splice(this.rows.findIndex((each) => each.fold === fold), 1, ...rows);
      this.shown += rows.length - 1;
      row.replaceWith(...drawn);
      this.element.focus();
    };
    row.append(el("td", { colspan: this.columns }, this.patch.before === null ? `⋯ ${text}` : el("button", { type: "button", class: "small", onclick: show }, `Show ${text}`)));
    return row;
  }

  // The row where a change begins, as far as there is one.
  anchor(change) {
    while (!this.anchors[change] && this.shown < this.rows.length) this.grow();
    return this.anchors[change] || null;
  }

  // One line number is in the tab order; the arrow keys lead to the others.
  move(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || !event.target.matches("button.line")) return;
    const lines = [...this.body.querySelectorAll("button.line")];
    const next = lines[lines.indexOf(event.target) + step];
    if (!next) return;
    event.preventDefault();
    event.target.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }
}

// A carriage return at the end of a line that does not change is left out: a remark states the line endings.
function content(line, isChange) {
  const shown = isChange ? line.text : line.text.replace(/\r$/, "");
  return [...visible(shown), line.noEnd ? el("span", { class: "quiet" }, " no line end") : null].filter(Boolean);
}
