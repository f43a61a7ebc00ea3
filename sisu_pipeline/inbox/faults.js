// The details of a refused request, each at the field that its JSON Pointer (RFC 6901) names.

import { el } from "./dom.js";

let faults = 0;

export function clearFaults(form) {
  for (const each of form.querySelectorAll(".fault")) each.remove();
  for (const each of form.querySelectorAll("[aria-invalid]")) {
    each.removeAttribute("aria-invalid");
    each.removeAttribute("aria-describedby");
  }
}

// Shows each detail at its field, or at the nearest group that holds it, and moves the focus to the first.
export function showFaults(form, details) {
  const places = details.map(({ pointer, message }) => [nearest(form, pointer), message]).filter(([place]) => place);
  for (const [place, message] of places) {
    const fault = el("p", { class: "bad fault", id: `fault-${++faults}` }, message);
    place.after(fault);
    const field = focusable(place);
    field?.setAttribute("aria-invalid", "true");
    field?.setAttribute("aria-describedby", fault.id);
  }
  const first = form.querySelector("[aria-invalid]");
  first?.closest("details")?.setAttribute("open", "");
  first?.focus();
}

function nearest(form, pointer) {
  for (let place = pointer; place; place = place.slice(0, place.lastIndexOf("/"))) {
    const found = form.querySelector(`[data-pointer="${CSS.escape(place)}"]`);
    if (found) return found;
  }
  return null;
}

const FIELDS = "input, textarea, select, button";

const focusable = (place) => (place.matches(FIELDS) ? place : place.querySelector(FIELDS));
