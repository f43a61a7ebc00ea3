// The lines of a unified diff of the server, with the unchanged parts between its hunks, which are folded.

const HUNK = /^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@/;
const NO_END = "\\ No newline at end of file";
const MOST_UNFOLDED = 100;

// Added and removed lines, without parsing; null for a diff without lines.
export function countsOf(diffText) {
  const start = diffText.search(/^@@ /m);
  if (start < 0) return null;
  const hunks = diffText.slice(start);
  return { added: (hunks.match(/^\+/gm) || []).length, removed: (hunks.match(/^-/gm) || []).length };
}

// Blocks in order: {same: [[left, right]]}, {removed, added} and {fold: {old, now, length}}; a line is {text, number, noEnd}.
export function blocksOf({ diffText, before }) {
  const blocks = [];
  let last = null, old = 1, now = 1, end = 1, isInside = false;
  const block = (name, made) => { if (!blocks.at(-1)?.[name]) blocks.push(made); return blocks.at(-1); };
  for (const each of diffText.replace(/\n$/, "").split("\n")) {
    const hunk = isInside && each[0] !== "@" ? null : HUNK.exec(each);
    if (hunk) {
      isInside = true;
      // A hunk without lines on one side names the line before it.
      old = Number(hunk[1]) + (hunk[2] === "0" ? 1 : 0);
      now = Number(hunk[3]) + (hunk[4] === "0" ? 1 : 0);
      if (old > end) blocks.push({ fold: { old: end, now: now - (old - end), length: old - end } });
    } else if (!isInside) {
      continue;
    } else if (each[0] === "-") {
      block("removed", { removed: [], added: [] }).removed.push(last = { text: each.slice(1), number: old++ });
    } else if (each[0] === "+") {
      block("removed", { removed: [], added: [] }).added.push(last = { text: each.slice(1), number: now++ });
    } else if (each[0] === " ") {
      last = { text: each.slice(1), number: old++ };
      block("same", { same: [] }).same.push([last, { text: last.text, number: now++ }]);
    } else if (each === NO_END) {
      last.noEnd = true;
      const pair = blocks.at(-1).same?.at(-1);
      if (pair?.[0] === last) pair[1].noEnd = true;
    }
    end = old;
  }
  const left = before === null || !blocks.length ? 0 : linesOf(before).length - (end - 1);
  if (left > 0) blocks.push({ fold: { old: end, now: end + now - old, length: left } });
  return blocks;
}

// The lines of a fold: of a long one the first and the last, with a shorter fold between them.
export function unfolded({ old, now, length }, before) {
  const lines = linesOf(before);
  const same = (start, count) => ({ same: Array.from({ length: count }, (_, index) => {
    const text = lines[old - 1 + start + index];
    return [{ text, number: old + start + index }, { text, number: now + start + index }];
  }) });
  if (length <= MOST_UNFOLDED) return [same(0, length)];
  const half = MOST_UNFOLDED / 2;
  return [same(0, half), { fold: { old: old + half, now: now + half, length: length - MOST_UNFOLDED } }, same(length - half, half)];
}

const linesOf = (text) => text.replace(/\n$/, "").split("\n");

// Rows of a table. Side by side, removed lines stand beside the added lines that replace them; else above them.
export function rowsOf(blocks, isSideBySide) {
  let change = -1;
  return blocks.flatMap((block) => {
    if (block.fold) return [block];
    if (block.same) return block.same.map(([left, right]) => ({ left, right, kind: "same" }));
    const { removed, added } = block;
    const rows = isSideBySide ? Array.from({ length: Math.max(removed.length, added.length) }, (_, index) => ({ left: removed[index], right: added[index], kind: "changed" }))
      : [...removed.map((left) => ({ left, kind: "changed" })), ...added.map((right) => ({ right, kind: "changed" }))];
    rows[0].change = ++change;
    return rows;
  });
}
