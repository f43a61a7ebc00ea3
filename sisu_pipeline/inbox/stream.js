// What this tab follows, through the stream that all tabs of the browser share. A hidden tab follows nothing.

import { address } from "./api.js";
import { Hub } from "./hub.js";

const GLANCE_MS = 30_000, REPORT_MS = 10_000, SILENCE_MS = 25_000;
const follows = new Map();
let link = null;

// With `glances`, a hidden tab reads the first event now and then, for its title.
export function follow(topic, receive, { opened = () => {}, failed = () => {}, refused = () => {}, ended = () => {}, glances = false } = {}) {
  const mine = { receive, opened, failed, refused, ended, glances, isGlancing: false };
  follows.set(topic, mine);
  report();
  return { close() { if (follows.get(topic) === mine) { follows.delete(topic); report(); } } };
}

function report() {
  link ??= shared() || own();
  link.send([...follows].filter(([, each]) => !isHidden() || each.isGlancing).map(([topic]) => topic));
}

let hasLeft = false;
const isHidden = () => document.hidden || hasLeft;

function receive({ topic, data, id, ended, state }) {
  if (state) return [...follows.values()].forEach((each) => ({ open: each.opened, failed: each.failed, refused: each.refused })[state]());
  const mine = follows.get(topic);
  if (!mine) return;
  if (ended) return mine.ended();
  if (mine.isGlancing) { mine.isGlancing = false; report(); }
  mine.receive(data, id);
}

function shared() {
  if (!window.SharedWorker) return null;
  let unansweredSince = null;
  const worker = new SharedWorker(address("/assets/stream_worker.js"), { type: "module", name: "sisu-stream-1" });
  worker.port.onmessage = ({ data }) => {
    if (data.isAlive) unansweredSince = null;
    else receive(data);
  };
  // A browser without modules in workers.
  worker.onerror = () => { link = own(); report(); };
  return {
    send(topics) {
      // A worker that is gone: the next connection starts another one.
      if (unansweredSince && Date.now() - unansweredSince > SILENCE_MS) return (link = shared()).send(topics);
      unansweredSince ??= Date.now();
      worker.port.postMessage(topics);
    },
  };
}

function own() {
  const hub = new Hub();
  return { send: (topics) => hub.set(link, topics, receive) };
}

document.addEventListener("visibilitychange", report);
addEventListener("pagehide", () => { hasLeft = true; if (link) report(); });
addEventListener("pageshow", () => { hasLeft = false; if (link) report(); });
setInterval(() => { if (follows.size && !isHidden()) report(); }, REPORT_MS);
setInterval(() => {
  if (!document.hidden) return;
  for (const each of follows.values()) each.isGlancing = each.glances;
  if (follows.size) report();
}, GLANCE_MS);
