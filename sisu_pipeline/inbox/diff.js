// A unified diff of the server, side by side. A new or deleted file has one side. Unchanged parts are left out.

import { el } from "./dom.js";
import { visible } from "./hidden.js";

const HUNK = /^@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@/;
const NO_END = "\\ No newline at end of file";
const CAPTIONS = { create: "New file", modify: "Changed file", delete: "Deleted file", rename: "Renamed file" };
const COLUMNS = { create: ["After"], delete: ["Before"] };

export function diffTable({ targetPath, op, diffText, remarks }) {
  const notes = remarks.length ? el("ul", { class: "notes" }, remarks.map((note) => el("li", {}, note))) : null;
  if (diffText === "") return [el("p", { class: "quiet" }, "The file does not change.")];
  const hunks = parse(diffText);
  // The remarks state size and hash of binary content; nobody reads the content itself.
  if (!hunks.length) return [notes, el("pre", {}, visible(diffText.replace(/^GIT binary patch\n[^]*/m, "GIT binary patch")))];
  const columns = COLUMNS[op] || ["Before", "After"];
  const head = el("tr", {}, columns.map((name) => el("th", { scope: "col", colspan: 2 }, name)));
  const body = hunks.flatMap((rows, index) => [index || rows.skips ? gap(columns.length) : null, ...rows.map((row) => line(row, columns))]);
  const widths = columns.flatMap(() => [el("col", { class: "numbers" }), el("col")]);
  const table = el("table", { class: columns.length === 1 ? "diff one" : "diff" }, el("caption", {}, CAPTIONS[op]),
    el("colgroup", {}, widths), el("thead", {}, head), el("tbody", {}, body));
  return [notes, el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Changes of ${targetPath}` }, table)];
}

function line({ left, right, kind }, columns) {
  const side = (part, mark, style) => [el("td", { class: "number" }, part ? String(part.number) : ""),
    el("td", { class: kind !== "same" && part ? style : "" }, part ? [kind === "same" ? "  " : `${mark} `, ...text(part, kind)] : "")];
  return el("tr", {}, columns.includes("Before") ? side(left, "−", "removed") : null, columns.includes("After") ? side(right, "+", "added") : null);
}

// A carriage return at the end of a line that does not change is left out: a remark states the line endings.
function text(part, kind) {
  const shown = kind === "same" ? part.text.replace(/\r$/, "") : part.text;
  return [...visible(shown), part.noEnd ? el("span", { class: "quiet" }, " no line end") : null].filter(Boolean);
}

const gap = (columns) => el("tr", { class: "gap" }, el("td", { colspan: 2 * columns }, "⋯"));

// The rows of each hunk; removed lines stand beside the added lines that replace them.
function parse(diffText) {
  const hunks = [];
  let rows = null, gone = [], come = [], last = null, old = 0, now = 0;
  const flush = () => {
    for (let index = 0; index < Math.max(gone.length, come.length); index++) rows.push({ left: gone[index], right: come[index], kind: "changed" });
    gone = [];
    come = [];
  };
  for (const each of diffText.replace(/\n$/, "").split("\n")) {
    const hunk = rows && each[0] !== "@" ? null : HUNK.exec(each);
    if (hunk) {
      if (rows) flush();
      [old, now] = [Number(hunk[1]), Number(hunk[2])];
      rows = [];
      rows.skips = old > 1;
      hunks.push(rows);
    } else if (rows && each[0] === "-") gone.push(last = { text: each.slice(1), number: old++ });
    else if (rows && each[0] === "+") come.push(last = { text: each.slice(1), number: now++ });
    else if (rows && each[0] === " ") {
      flush();
      last = { text: each.slice(1), number: old++ };
      rows.push({ left: last, right: { text: last.text, number: now++ }, kind: "same" });
    } else if (rows && each === NO_END) {
      last.noEnd = true;
      const same = rows.at(-1);
      if (same && same.left === last) same.right.noEnd = true;
    }
  }
  if (rows) flush();
  return hunks;
}
