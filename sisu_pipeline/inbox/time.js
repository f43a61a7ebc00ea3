// Ages and deadlines in words, by the server's clock: the browser's may be wrong.

import { el } from "./dom.js";

let offset = 0;

export function setNow(iso) {
  offset = Date.parse(iso) - Date.now();
}

export const now = () => Date.now() + offset;

export function span(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 90) return `${seconds} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  if (seconds < 36 * 3600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

export function age(iso) {
  return ticking(() => `${span(now() - Date.parse(iso))} ago`, iso);
}

export function deadline(gate) {
  if (!gate.deadlineAt) return "no deadline";
  const outcome = { reject: "rejected", approve: "approved" }[gate.onTimeout];
  const left = () => Date.parse(gate.deadlineAt) - now();
  const made = ticking(() => (left() > 0 ? `${span(left())} left, then ${outcome}` : `overdue: ${outcome}`), gate.deadlineAt);
  made.dataset.deadline = gate.deadlineAt;
  made.classList.toggle("warn", left() < 10 * 60000);
  return made;
}

function ticking(text, iso) {
  const made = el("time", { datetime: iso, title: new Date(iso).toLocaleString() }, text());
  made.tick = () => { made.textContent = text(); };
  return made;
}

setInterval(() => {
  for (const made of document.querySelectorAll("time")) if (made.tick) made.tick();
}, 1000);
