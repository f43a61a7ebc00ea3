// Hidden characters as escapes: they could change what a person reads before a decision. The command line and Dagster
// show the same escapes (sisu_pipeline/domain/untrusted_text.py).

import { el } from "./dom.js";

const HIDDEN = /(?![ \t\n])[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}\p{Zs}\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\ufe0f\uffa0]/gu;

export const escaped = (text) => text.replace(HIDDEN, escapeOf);

// The text as nodes, each hidden character marked.
export function visible(text) {
  const nodes = [];
  let end = 0;
  for (const found of text.matchAll(HIDDEN)) {
    nodes.push(text.slice(end, found.index), el("mark", { class: "hidden-character", title: "hidden character" }, escapeOf(found[0])));
    end = found.index + found[0].length;
  }
  return [...nodes, text.slice(end)].filter((node) => node !== "");
}

function escapeOf(character) {
  const code = character.codePointAt(0);
  const digits = code.toString(16);
  if (code < 0x100) return `\\x${digits.padStart(2, "0")}`;
  return code < 0x10000 ? `\\u${digits.padStart(4, "0")}` : `\\U${digits.padStart(8, "0")}`;
}
