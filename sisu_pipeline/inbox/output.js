// The live output of a run's tasks. Best effort: the complete output is in their artifacts.

import { el } from "./dom.js";
import { follow } from "./stream.js";

const MOST_LINES = 500;

export class Output {
  constructor(id) {
    this.topic = `output ${id}`;
    this.stream = null;
    this.lines = el("pre", {});
    // Not announced by screen readers: the output is too fast. It remains readable on request.
    this.box = el("div", { class: "scroll log", tabindex: "0", role: "log", "aria-live": "off", "aria-label": "Live output" }, this.lines);
    this.section = el("section", { id: "output", hidden: true }, el("h2", {}, "Live output"), this.box);
    this.unfinished = new Map();
    this.last = 0;
  }

  // Followed only while there is work. The stream ends with its run.
  follow(run) {
    if (run.status === "running" && !this.stream) this.open();
  }

  open() {
    const receive = (piece, id) => {
      // Opened again, it begins with the last minute.
      if (id <= this.last) return;
      this.last = id;
      this.append(piece);
    };
    this.stream = follow(this.topic, receive, { ended: () => this.close() });
  }

  append({ position, kind, chunk }) {
    const name = `${position}${kind === "stderr" ? "!" : " "}`;
    const pieces = ((this.unfinished.get(name) || "") + chunk).split("\n");
    this.unfinished.set(name, pieces.pop());
    if (!pieces.length) return;
    const follows = this.box.scrollTop + this.box.clientHeight >= this.box.scrollHeight - 8;
    this.lines.append(...pieces.map((text) => el("span", kind === "stderr" ? { class: "warn" } : {}, `${name} ${text}\n`)));
    while (this.lines.childElementCount > MOST_LINES) this.lines.firstElementChild.remove();
    this.section.hidden = false;
    if (follows) this.box.scrollTop = this.box.scrollHeight;
  }

  close() {
    this.stream?.close();
    this.stream = null;
  }
}
