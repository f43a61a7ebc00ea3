// New intent: a form from the schema of an intent's usual members, files that are dropped or chosen, and the same as commands.

import { get, post } from "./api.js";
import { commands } from "./copies.js";
import { el, labelled } from "./dom.js";
import { formOf } from "./form.js";
import { visible } from "./hidden.js";
import { session } from "./session.js";

const MOST_BYTES = 6_000_000;
const text = (title, description, more = {}) => ({ type: "string", title, description, ...more });

function schemaOf(recipes) {
  const properties = {
    goal: text("Goal", "what is wanted, in words", { minLength: 1, maxLength: 100_000 }),
    url: text("Repository", "an https address; leave it empty to send files", { maxLength: 2000 }),
    ref: text("Branch, tag or commit", "of the repository", { maxLength: 100 }),
    tests: text("Tests", "one per line, each a task of its own; empty: one task for the command"),
    testCommand: text("Command", "the shell command of every task; {test} stands for the name of the test"),
    recipeName: { enum: recipes, title: "Recipe", description: "the limits and the approval policy", default: recipes.find((name) => name === "sandbox-default") },
    queuePartitionKey: text("Queue partition", "whose turn and limits the run takes", { minLength: 1, maxLength: 100, default: "default" }),
    tenantId: text("Tenant", "recorded with the run", { maxLength: 100 }),
    timeoutMS: { type: "integer", minimum: 1, title: "Longest time in milliseconds", description: "waiting included; then the run is canceled" },
  };
  return { schema: { properties, required: ["goal", "recipeName", "queuePartitionKey"] }, fields: Object.keys(properties) };
}

export async function submission() {
  if (!session.roles.includes("submitter")) {
    return [el("h1", {}, "New intent"), el("p", {}, "Your token permits no submission: it lacks the role submitter.")];
  }
  const { recipes } = await get("/recipes");
  const form = formOf(schemaOf(recipes.map((recipe) => recipe.name)));
  const files = new Map();
  const listed = el("ul", { class: "plain", id: "files" });
  const fault = el("p", { class: "bad", role: "alert" });
  const preview = el("div", { id: "copies" });
  const send = el("button", { class: "main", id: "submit" }, "Submit and start");
  const chooser = el("input", { type: "file", multiple: true, onchange: () => add(chooser.files) });
  const pasted = el("input", { name: "path", maxlength: "1000" });
  const content = el("textarea", { class: "code", name: "content" });
  const keep = el("button", { type: "button", onclick: addPasted }, "Add the pasted file");
  const drop = el("fieldset", { id: "drop", ondragover: (event) => event.preventDefault(), ondrop: dropped },
    el("legend", {}, "Files"), el("p", { class: "quiet" }, "Without a repository, the run starts from these files. Drop them here, choose them, or paste one."),
    labelled("Choose files", chooser), labelled("Path of a pasted file", pasted), labelled("Its content", content), el("div", { class: "verbs" }, keep), listed);
  const show = el("button", { type: "button", id: "show-copies", onclick: copies }, "Show as commands");
  return [el("p", {}, el("a", { href: "#/" }, "← Inbox")), el("h1", {}, "New intent"),
    el("form", { id: "intent", onsubmit: submit }, form.nodes, drop, fault, el("div", { class: "verbs" }, send, show), preview)];

  function parts() {
    const { goal, url, ref, tests, testCommand, ...run } = form.read();
    const names = (tests ?? "").split("\n").map((name) => name.trim()).filter(Boolean);
    const inputs = {};
    if (url) inputs.repo = { url, ref: ref || "main" };
    else if (files.size) inputs.files = Object.fromEntries(files);
    if (names.length) inputs.tests = names;
    if (testCommand) inputs.testCommand = testCommand;
    return { intent: { goal, inputs, constraints: {} }, run };
  }

  async function submit(event) {
    event.preventDefault();
    fault.textContent = "";
    send.disabled = true;
    try {
      const { intent, run } = parts();
      const { intentId } = await post("/intents", intent);
      const { runId } = await post(`/intents/${intentId}/run`, run);
      location.hash = `#/runs/${runId}`;
    } catch (error) {
      fault.textContent = error.message;
      send.disabled = false;
    }
  }

  function copies() {
    if (document.getElementById("intent").reportValidity()) preview.replaceChildren(...commands(parts()));
  }

  function dropped(event) {
    event.preventDefault();
    add(event.dataTransfer.files);
  }

  async function add(chosen) {
    fault.textContent = "";
    for (const file of chosen) {
      try {
        if (file.size > MOST_BYTES) throw new Error("it is too large: put it into a repository");
        const bytes = await file.arrayBuffer();
        put(file.webkitRelativePath || file.name, new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
      } catch (error) {
        fault.textContent = `${file.name}: ${error instanceof TypeError ? "it is not UTF-8 text: put it into a repository" : error.message}`;
      }
    }
    chooser.value = "";
  }

  function addPasted() {
    pasted.required = true;
    const isNamed = pasted.reportValidity();
    pasted.required = false;
    if (!isNamed) return;
    put(pasted.value, content.value);
    pasted.value = content.value = "";
  }

  function put(path, written) {
    files.set(path, written);
    listed.replaceChildren(...[...files].map(([name, value]) => el("li", {}, visible(name), ` (${value.length} characters) `,
      el("button", { type: "button", onclick: () => { files.delete(name); redraw(); } }, "Remove"))));
  }

  function redraw() {
    const kept = [...files];
    files.clear();
    listed.replaceChildren();
    for (const [name, value] of kept) put(name, value);
  }
}
