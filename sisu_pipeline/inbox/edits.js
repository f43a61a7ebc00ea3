// Edited text with the bytes of the original wherever nothing was edited: a text field knows line feeds only.

const LINES = /[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+$/g;

const bare = (line) => line.replace(/\r\n$|\r$/, "\n");

export function withLineEnds(original, edited) {
  const before = original.match(LINES) || [], after = edited.match(/[^\n]*\n|[^\n]+$/g) || [];
  const ends = before.map((line) => (line.endsWith("\r\n") ? "\r\n" : line.endsWith("\r") ? "\r" : "\n"));
  const most = ["\n", "\r\n", "\r"].sort((one, other) => count(ends, other) - count(ends, one))[0];
  let start = 0, end = 0;
  while (start < before.length && start < after.length && bare(before[start]) === after[start]) start++;
  while (end < before.length - start && end < after.length - start && bare(before.at(-1 - end)) === after.at(-1 - end)) end++;
  const middle = after.slice(start, after.length - end).map((line) => line.replace(/\n$/, most));
  return [...before.slice(0, start), ...middle, ...before.slice(before.length - end)].join("");
}

// The items of a list, one a line: those that were not edited are kept as they were, blank ones too.
export function withItems(original, edited) {
  const after = edited.split("\n");
  const most = Math.min(original.length, after.length);
  let start = 0, end = 0;
  while (start < most && original[start] === after[start]) start++;
  while (end < most - start && original.at(-1 - end) === after.at(-1 - end)) end++;
  const middle = after.slice(start, after.length - end).filter((line) => line.trim());
  return [...original.slice(0, start), ...middle, ...original.slice(original.length - end)];
}

const count = (all, one) => all.filter((each) => each === one).length;

// A field and what it holds: `read` gives the original until a person changes the field.
export function tracked(field, original, edit) {
  const shown = field.value;
  return { field, read: () => (field.value === shown ? original : edit(field.value)) };
}
