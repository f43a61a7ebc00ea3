// An intent and the request to run it as commands: for curl, for sisu, and as the configuration of a Dagster job.

import { el } from "./dom.js";
import { session } from "./session.js";

export function commands({ intent, run }) {
  const body = JSON.stringify(intent, null, 2);
  const token = session.owner ? " -H \"Authorization: Bearer $SISU_TOKEN\"" : "";
  const post = (path, data) => `curl -fsS${token} -H 'Content-Type: application/json' --data-binary @- ${location.origin}${path} <<'END'\n${data}\nEND`;
  const curl = `${post("/intents", body)}\n# then, with the intentId of the answer:\n${post("/intents/INTENT_ID/run", JSON.stringify(run))}`;
  const sisu = `sisu intent submit - --url ${location.origin} <<'END'\n${body}\nEND\n`
    + `# then, with the id that it prints:\nsisu run start INTENT_ID --url ${location.origin} --body ${quoted(JSON.stringify(run))}`;
  const config = JSON.stringify({ ops: { submit_intent_op: { config: { ...intent, run } } } }, null, 2);
  const job = `# ${session.dagsterUrl}: the configuration of the job submit_intent\n${config}`;
  return [block("curl", curl), block("sisu", sisu), block("Dagster job", job)];
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function block(name, text) {
  const status = el("span", { role: "status" });
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      status.textContent = " Copied.";
    } catch {
      status.textContent = " Select the text and copy it.";
    }
  };
  return el("section", { "aria-label": name }, el("h2", {}, name), el("pre", { class: "scroll copy", tabindex: "0" }, text),
    el("p", {}, el("button", { type: "button", onclick: copy }, `Copy for ${name}`), status));
}
