// Comments on lines of a plan's changes. Together they are the text of a request for changes; until then this tab has them.

import { announce, el } from "./dom.js";
import { visible } from "./hidden.js";

const STORE = "sisu-comments", CHANGED = "comments", LISTENS = "uses-comments";
let kept = JSON.parse(sessionStorage.getItem(STORE) || "[]");

export const commentsAt = (sha, path, number, isOld) => kept.filter((each) => each.planSha256 === sha && each.path === path && each.number === number && each.isOld === isOld);

// The comments on a plan in the order of files and lines, as the text for the coding agent.
export function commentText(planSha256, paths) {
  const order = (note) => [paths.indexOf(note.path), note.number];
  return kept.filter((each) => each.planSha256 === planSha256)
    .sort((one, other) => order(one)[0] - order(other)[0] || order(one)[1] - order(other)[1])
    .map(({ path, number, isOld, line, text }) => `${path}, ${isOld ? "removed line" : "line"} ${number}:\n> ${line.trim().slice(0, 200)}\n${text}`).join("\n\n");
}

export const countComments = (planSha256) => kept.filter((each) => each.planSha256 === planSha256).length;

export function dropComments(planSha256) {
  store(kept.filter((each) => each.planSha256 !== planSha256));
}

// The element hears of every change as long as it is part of the page.
export function onComments(element, listener) {
  element.classList.add(LISTENS);
  element.addEventListener(CHANGED, listener);
}

function store(next) {
  kept = next;
  sessionStorage.setItem(STORE, JSON.stringify(kept.slice(-500)));
  for (const each of document.querySelectorAll(`.${LISTENS}`)) each.dispatchEvent(new Event(CHANGED));
}

// A row with a comment, or with the field for one; `origin` gets the focus back.
export function commentRow(note, columns, origin) {
  const cell = el("td", { colspan: columns });
  const row = el("tr", { class: "comment", "data-is-old": String(note.isOld) }, cell);
  const place = `line ${note.number} of ${note.path}`;
  const read = () => cell.replaceChildren(el("p", {}, visible(note.text)), el("div", { class: "verbs" },
    el("button", { type: "button", class: "small", "aria-label": `Edit the comment on ${place}`, onclick: write }, "Edit"),
    el("button", { type: "button", class: "small", "aria-label": `Remove the comment on ${place}`, onclick: remove }, "Remove")));
  if (note.text) read();
  else write();
  return row;

  function back() {
    let line = row;
    while (line?.matches(".comment")) line = line.previousElementSibling;
    (origin ?? line?.querySelector("button.line"))?.focus();
  }

  function write() {
    const field = el("textarea", { class: "comment", value: note.text, rows: "3", "aria-label": `Comment on ${place}` });
    const save = () => {
      if (!field.value.trim()) return remove();
      note.text = field.value.trim();
      store([...kept.filter((each) => each !== note), note]);
      read();
      announce("Comment added. Send it with “Request changes”.");
      back();
    };
    cell.replaceChildren(field, el("div", { class: "verbs" }, el("button", { type: "button", class: "small", onclick: save }, "Add the comment"),
      el("button", { type: "button", class: "small", onclick: cancel }, "Cancel")));
    if (field.isConnected) field.focus();
  }

  function cancel() {
    if (!note.text) return remove();
    read();
    back();
  }

  function remove() {
    store(kept.filter((each) => each !== note));
    back();
    row.remove();
  }
}
