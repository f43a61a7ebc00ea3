// The list of open gates: filtered by the server, page by page, refreshed when something changes.

import { get } from "./api.js";
import { Selection } from "./batch.js";
import { el } from "./dom.js";
import { filterBar } from "./filters.js";
import { gateCard } from "./list.js";
import { setNow } from "./time.js";

const PAGE = 50;

export class OpenGates {
  #gates = [];
  #cursor = null;
  #reading = 0;
  #drawn = "";

  constructor() {
    this.selection = new Selection(() => this.refresh());
    this.title = el("h2", { id: "gates-title", tabindex: "-1" }, "Waiting");
    this.place = el("div", { "aria-busy": "true" }, el("p", { class: "quiet" }, "Loading…"));
    this.more = el("button", { type: "button", id: "more", hidden: true, onclick: () => this.#reported(this.#next()) }, "Show more");
    this.filters = filterBar(() => this.refresh(PAGE));
    this.fault = el("p", { class: "bad", role: "alert" });
    this.section = el("section", { "aria-labelledby": "gates-title" }, this.title, this.filters.form,
      this.selection.results, this.fault, this.place, el("div", { class: "verbs" }, this.more), this.selection.bar);
  }

  // Reads again as many gates as are shown. The latest reading counts, whichever answer comes first.
  refresh(wanted = Math.max(PAGE, this.#gates.length)) {
    return this.#reported(this.#readAll(wanted));
  }

  // A list that cannot be read now stays as it is. Raises the refusal of a person who has to sign in.
  async #reported(reading) {
    try {
      await reading;
      this.fault.textContent = "";
    } catch (error) {
      if (error.status === 401) throw error;
      this.fault.textContent = error.message;
    }
  }

  async #readAll(wanted) {
    const reading = ++this.#reading;
    const gates = [];
    let page = { nextCursor: null };
    do {
      page = await this.#read(Math.min(200, wanted - gates.length), page.nextCursor);
      gates.push(...page.gates);
    } while (page.nextCursor && gates.length < wanted);
    if (reading === this.#reading) this.#draw(gates, page);
  }

  async #next() {
    const reading = ++this.#reading;
    const before = this.#gates.length;
    const page = await this.#read(PAGE, this.#cursor);
    if (reading !== this.#reading) return;
    this.#draw([...this.#gates, ...page.gates], page);
    this.place.querySelectorAll("li.card a")[before]?.focus();
  }

  #read(limit, cursor) {
    const query = this.filters.query();
    query.set("limit", limit);
    if (cursor) query.set("cursor", cursor);
    return get(`/gates?${query}`);
  }

  // What has not changed stays, so that no click and no focus is lost.
  #draw(gates, { count, nextCursor, now }) {
    setNow(now);
    const isFiltered = Boolean(location.hash.split("?")[1]);
    const drawn = JSON.stringify([gates, count, nextCursor, isFiltered]);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    this.#gates = gates;
    this.#cursor = nextCursor;
    const position = this.#positionOfFocus();
    this.title.textContent = count > gates.length ? `Waiting: ${gates.length} of ${count}` : "Waiting";
    this.place.removeAttribute("aria-busy");
    this.place.replaceChildren(gates.length
      ? el("ul", { class: "cards", id: "gates" }, gates.map((gate) => gateCard(gate, this.selection.box(gate))))
      : nothing(isFiltered));
    this.more.hidden = !nextCursor;
    const listed = new Set(gates.map((gate) => gate.runId));
    this.selection.keep((runId) => listed.has(runId));
    if (position) this.#focus(position, listed);
  }

  // The gate that has the focus, by its run, and whether its box has it.
  #positionOfFocus() {
    const held = document.activeElement;
    const card = this.place.contains(held) ? held.closest("li") : null;
    return card && { index: [...card.parentElement.children].indexOf(card), run: card.dataset.run, isBox: held.matches("input") };
  }

  // The next gate takes the focus of one that has left the list; the title when none is left.
  #focus({ index, run, isBox }, listed) {
    const cards = [...this.place.querySelectorAll("li.card")];
    const card = listed.has(run) ? cards.find((each) => each.dataset.run === run) : cards[Math.min(index, cards.length - 1)];
    (card ? (isBox && card.querySelector("input")) || card.querySelector("a") : this.title).focus({ preventScroll: listed.has(run) });
  }
}

function nothing(isFiltered) {
  if (isFiltered) return el("p", { class: "quiet" }, "No open gate matches.");
  return el("p", { class: "quiet" }, "No gate is open. ", el("a", { href: "#/new" }, "Submit an intent"),
    ", or use ", el("code", {}, "sisu intent template > intent.json"), " and ", el("code", {}, "sisu intent submit intent.json"), ".");
}
