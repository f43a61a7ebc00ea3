// The filters of the list of open gates. They are part of the address, so that a list can be linked and reloaded.

import { el, labelled } from "./dom.js";
import { session } from "./session.js";

const WAIT_MS = 250;
const ASKED = [["", "anyone"], ["me", "me"], ["team", "my groups"], ["unassigned", "no one in particular"]];
const DUE = [["", "any time"], ["0", "overdue"], ["3600", "within an hour"], ["86400", "within a day"]];
const NAMES = ["search", "asked", "dueWithinS", "tenant"];

export function filterBar(changed) {
  const given = new URLSearchParams(location.hash.split("?")[1] ?? "");
  const fields = {
    search: el("input", { type: "search", maxlength: "200", value: given.get("search") ?? "" }),
    asked: choice(ASKED, given.get("asked")),
    dueWithinS: choice(DUE, given.get("dueWithinS")),
    tenant: el("input", { maxlength: "255", value: given.get("tenant") ?? "" }),
  };
  let waiting;
  const later = () => { clearTimeout(waiting); waiting = setTimeout(apply, WAIT_MS); };
  for (const field of Object.values(fields)) field.addEventListener("input", later);
  const form = el("form", { id: "filters", role: "search", onsubmit: (event) => { event.preventDefault(); apply(); } },
    labelled("Search", fields.search, "words in goal, id, submitter, file, recipe"), labelled("Asks", fields.asked),
    labelled("Deadline", fields.dueWithinS), labelled("Tenant", fields.tenant));
  return { form, query };

  function query() {
    const wanted = new URLSearchParams();
    for (const name of NAMES) if (fields[name].value.trim()) wanted.set(name, fields[name].value.trim());
    if (["me", "team"].includes(fields.asked.value) && !session.owner) wanted.set("person", localStorage.getItem("sisu-name") || "no name");
    return wanted;
  }

  function apply() {
    clearTimeout(waiting);
    const wanted = query();
    wanted.delete("person");
    history.replaceState(null, "", wanted.size ? `#/?${wanted}` : "#/");
    changed();
  }
}

function choice(options, value) {
  const node = el("select", {}, options.map(([name, label]) => el("option", { value: name }, label)));
  node.value = value ?? "";
  return node;
}
