// Two texts side by side, line by line (longest common subsequence; large files fall back to all old, all new).

import { el } from "./dom.js";

const MOST_CELLS = 4_000_000;

export function sideBySide(path, before, after) {
  const rows = pair(lines(before), lines(after));
  const body = rows.map(([left, right, kind]) => el("tr", {},
    el("td", { class: "number" }, left ? String(left.number) : ""),
    el("td", { class: kind !== "same" && left ? "removed" : "" }, left ? mark(kind, "−") + left.text : ""),
    el("td", { class: "number" }, right ? String(right.number) : ""),
    el("td", { class: kind !== "same" && right ? "added" : "" }, right ? mark(kind, "+") + right.text : "")));
  const head = el("tr", {}, ["Before", "After"].map((name) => el("th", { scope: "col", colspan: 2 }, name)));
  const columns = el("colgroup", {}, el("col", { class: "numbers" }), el("col"), el("col", { class: "numbers" }), el("col"));
  const table = el("table", { class: "diff" }, el("caption", {}, before === null ? "New file" : "Changed file"),
    columns, el("thead", {}, head), el("tbody", {}, body));
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Changes of ${path}` }, table);
}

// A diff people can read elsewhere: every line with what became of it.
export function textOf(path, before, after) {
  const parts = pair(lines(before), lines(after)).flatMap(([left, right, kind]) =>
    kind === "same" ? [` ${left.text}`] : [left && `-${left.text}`, right && `+${right.text}`].filter(Boolean));
  return [`--- a/${path}`, `+++ b/${path}`, ...parts, ""].join("\n");
}

const mark = (kind, sign) => (kind === "same" ? "  " : `${sign} `);

function lines(text) {
  if (text === null || text === "") return [];
  const split = text.split("\n");
  if (split.at(-1) === "") split.pop();
  return split.map((line, index) => ({ text: line, number: index + 1 }));
}

// Rows of [before or null, after or null, kind]; runs of changed lines stand beside each other.
function pair(before, after) {
  const steps = before.length * after.length > MOST_CELLS ? wholesale(before, after) : common(before, after);
  const rows = [];
  let gone = [], come = [];
  const flush = () => {
    for (let index = 0; index < Math.max(gone.length, come.length); index++) {
      rows.push([gone[index] || null, come[index] || null, "changed"]);
    }
    gone = [];
    come = [];
  };
  for (const [left, right] of steps) {
    if (left && right) {
      flush();
      rows.push([left, right, "same"]);
    } else if (left) gone.push(left);
    else come.push(right);
  }
  flush();
  return rows;
}

const wholesale = (before, after) => [...before.map((line) => [line, null]), ...after.map((line) => [null, line])];

function common(before, after) {
  const width = after.length + 1;
  const lengths = new Uint32Array((before.length + 1) * width);
  for (let i = before.length - 1; i >= 0; i--) {
    for (let j = after.length - 1; j >= 0; j--) {
      lengths[i * width + j] = before[i].text === after[j].text
        ? lengths[(i + 1) * width + j + 1] + 1
        : Math.max(lengths[(i + 1) * width + j], lengths[i * width + j + 1]);
    }
  }
  const steps = [];
  let i = 0, j = 0;
  while (i < before.length || j < after.length) {
    if (i < before.length && j < after.length && before[i].text === after[j].text) steps.push([before[i++], after[j++]]);
    else if (j >= after.length || (i < before.length && lengths[(i + 1) * width + j] >= lengths[i * width + j + 1])) steps.push([before[i++], null]);
    else steps.push([null, after[j++]]);
  }
  return steps;
}
