// The history of all runs: filters, pages, and files.

import { get } from "./api.js";
import { el, labelled } from "./dom.js";
import { visible } from "./hidden.js";

const COLUMNS = ["Time", "Run", "Change", "Person", "Channel", "Reason"];

export function historyPage(failed) {
  const fields = {
    search: el("input", { type: "search", name: "search", maxlength: "200" }),
    person: el("input", { name: "person", maxlength: "200" }),
    event: el("input", { name: "event", maxlength: "40" }),
    since: el("input", { name: "since", type: "datetime-local" }),
    until: el("input", { name: "until", type: "datetime-local" }),
  };
  const rows = el("tbody", {});
  const nothing = el("p", { class: "quiet" });
  const more = el("button", { type: "button", id: "more", hidden: true, onclick: () => read(cursor) }, "Show more");
  const files = el("p", { class: "facts" });
  let cursor = null;
  const form = el("form", { id: "filters", role: "search", onsubmit: (event) => { event.preventDefault(); read(null); } },
    labelled("Search", fields.search, "words in goal, id, submitter, file, recipe"), labelled("Person", fields.person),
    labelled("Change", fields.event, "for example approved"), labelled("From", fields.since), labelled("To", fields.until),
    el("div", { class: "verbs" }, el("button", { class: "main" }, "Show")));
  const table = el("table", {}, el("thead", {}, el("tr", {}, COLUMNS.map((name) => el("th", { scope: "col" }, name)))), rows);
  read(null);
  return [el("p", {}, el("a", { href: "#/" }, "← Inbox")), el("h1", {}, "History"), form, files,
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Changes" }, table), nothing, el("div", { class: "verbs" }, more)];

  function query() {
    const wanted = new URLSearchParams();
    for (const [name, field] of Object.entries(fields)) {
      const value = field.value.trim();
      if (value) wanted.set(name, field.type === "datetime-local" ? new Date(value).toISOString() : value);
    }
    return wanted;
  }

  async function read(after) {
    const wanted = query();
    files.replaceChildren(...["csv", "json"].map((format) => el("a", { href: `/history/export?${link(wanted, format)}`, download: "" }, `Download as ${format.toUpperCase()}`)));
    if (after) wanted.set("cursor", after);
    try {
      const page = await get(`/history?${wanted}`);
      if (!after) rows.replaceChildren();
      const added = page.events.map(row);
      rows.append(...added);
      if (after) added[0]?.querySelector("a").focus();
      cursor = page.nextCursor;
      more.hidden = !cursor;
      nothing.textContent = rows.childElementCount ? "" : "No change matches.";
    } catch (error) {
      failed(error);
    }
  }
}

function link(wanted, format) {
  const query = new URLSearchParams(wanted);
  query.set("format", format);
  return query;
}

function row({ at, runId, goal, event, person, channel, reason }) {
  const cells = [el("time", { datetime: at }, new Date(at).toLocaleString()), el("a", { href: `#/runs/${runId}` }, visible(goal)),
    event, visible(person ?? "–"), channel ?? "–", visible(reason ?? "–")];
  return el("tr", {}, cells.map((cell) => el("td", {}, cell)));
}
