// Notifications of the browser about gates that open while the person looks elsewhere, and a badge on the app's icon.

import { el } from "./dom.js";
import { escaped } from "./hidden.js";

const LONGEST = 100;
let known = null;

// The button by which a person allows them; nothing where the browser lacks them or the person has decided.
export function offer() {
  const place = document.getElementById("alerts");
  const isOpen = "Notification" in window && isSecureContext && Notification.permission === "default";
  const ask = async () => { await Notification.requestPermission(); offer(); };
  place.replaceChildren(...(isOpen ? [el("button", { type: "button", onclick: ask }, "Notify me of new gates")] : []));
}

// Called with each state of the inbox. The gates of the first one are no news.
export function tell({ gates }) {
  navigator.setAppBadge?.(gates.length).catch(() => {});
  const isNews = known && !(document.hasFocus() && !document.hidden) && allowed();
  if (isNews) gates.filter((gate) => !known.has(key(gate))).forEach(alert);
  known = new Set(gates.map(key));
}

// An opening of a gate: it may open again with another deadline.
const key = (gate) => `${gate.runId} ${gate.gateKey} ${gate.deadlineAt}`;

const allowed = () => "Notification" in window && Notification.permission === "granted";

function alert(gate) {
  const title = gate.purpose === "ask-user" ? "Answer needed" : "Approval needed";
  // Every open tab has the same tag, so that the browser shows one.
  const made = new Notification(title, { body: escaped(gate.goal).slice(0, LONGEST), tag: key(gate), icon: "/assets/icon.svg" });
  made.addEventListener("click", () => { focus(); location.hash = `#/runs/${gate.runId}`; made.close(); });
}
