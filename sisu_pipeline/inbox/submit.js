// New intent: a form from the published schemas of an intent and of the request that starts its run, and the same as commands.

import { get, post } from "./api.js";
import { commands } from "./copies.js";
import { el } from "./dom.js";
import { clearFaults, showFaults } from "./faults.js";
import { perform } from "./focus.js";
import { membersOf, valuesOf } from "./form.js";
import { IntentFiles } from "./intent_files.js";
import { plainSchema } from "./schema.js";
import { session } from "./session.js";

// What most intents need; every other member of the schemas follows, folded.
const USUAL = { intent: ["goal"], inputs: ["repo", "tests", "testCommand"], run: ["recipeName", "queuePartitionKey", "budget"] };
// Members that have a place of their own in the form.
const OWN = { intent: ["inputs", "constraints"], inputs: ["files", "patches"], run: [], constraints: [] };

export async function submission() {
  if (!session.roles.includes("submitter")) {
    return [el("h1", {}, "New intent"), el("p", {}, "Your token permits no submission: it lacks the role submitter.")];
  }
  const [schemas, { recipes }] = await Promise.all([get("/intents/schema"), get("/recipes")]);
  const parts = partsOf(schemas, recipes.map((recipe) => recipe.name));
  const files = new IntentFiles(parts.descriptions);
  const fault = el("p", { class: "bad", role: "alert" });
  const preview = el("div", { id: "copies" });
  const send = el("button", { class: "main", id: "submit" }, "Submit and start");
  const show = el("button", { type: "button", id: "show-copies", onclick: copies }, "Show as commands");
  const form = el("form", { id: "intent", onsubmit: submit }, parts.usual, files.section, el("details", {}, el("summary", {}, "More settings"), parts.further),
    fault, el("div", { class: "verbs" }, send, show), preview);
  return [el("p", {}, el("a", { href: "#/" }, "← Inbox")), el("h1", {}, "New intent"), form];

  function submit(event) {
    event.preventDefault();
    clearFaults(form);
    perform(fault, [send], start, ({ runId }) => { location.hash = `#/runs/${runId}`; }).then((error) => showFaults(form, error?.places ?? error?.details ?? []));
  }

  async function start() {
    const { intent, run } = written();
    const { intentId } = await post("/intents", intent);
    try {
      return await post(`/intents/${intentId}/run`, run);
    } catch (error) {
      error.places = (error.details ?? []).map(({ pointer, message }) => ({ pointer: `/run${pointer}`, message }));
      throw error;
    }
  }

  function written() {
    const { intent, inputs, constraints, run } = parts.read();
    return { intent: { ...intent, inputs: { ...inputs, ...files.read() }, constraints }, run };
  }

  function copies() {
    if (form.reportValidity()) preview.replaceChildren(...commands(written()));
  }
}

function partsOf({ intent, run }, recipes) {
  const whole = plainSchema(intent, intent), start = plainSchema(run, run);
  const { inputs, constraints } = whole.properties;
  const defaults = { recipeName: recipes.includes("sandbox-default") ? "sandbox-default" : recipes[0], queuePartitionKey: "default" };
  start.properties.recipeName = { ...start.properties.recipeName, type: undefined, enum: recipes };
  start.required = ["recipeName", "queuePartitionKey"];
  const groups = { intent: [whole, ""], inputs: [inputs, "/inputs"], constraints: [constraints, "/constraints"], run: [start, "/run"] };
  const usual = {}, further = {};
  for (const [name, [schema, pointer]] of Object.entries(groups)) {
    const first = USUAL[name] ?? [], rest = Object.keys(schema.properties).filter((each) => !first.includes(each) && !OWN[name]?.includes(each));
    usual[name] = membersOf(schema, first, defaults, pointer);
    further[name] = membersOf(schema, rest, undefined, pointer);
  }
  const read = () => Object.fromEntries(Object.keys(groups).map((name) => [name, valuesOf([...usual[name], ...further[name]])]));
  const nodes = (made) => Object.values(made).flat().map((each) => each.node);
  return { usual: nodes(usual), further: nodes(further), read, descriptions: { files: inputs.properties.files.description, patches: inputs.properties.patches.description } };
}
