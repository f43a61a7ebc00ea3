// The shared worker with the one stream of this browser. A tab sends what it follows at each change and now and then.

import { Hub } from "./hub.js";

// A tab that crashed sends no farewell.
const SILENCE_MS = 35_000;
const hub = new Hub();
const heard = new Map();

addEventListener("connect", ({ ports: [port] }) => {
  const tell = (message) => port.postMessage(message);
  port.onmessage = ({ data: topics }) => {
    heard.set(port, Date.now());
    hub.set(port, topics, tell);
    tell({ isAlive: true });
  };
});

setInterval(() => {
  for (const [port, at] of heard) {
    if (Date.now() - at < SILENCE_MS) continue;
    heard.delete(port);
    hub.set(port, [], () => {});
  }
}, 5000);
