// The page: who is there, which view is shown, and the stream that keeps it fresh.

import { offer, tell } from "./alerts.js";
import { absences } from "./away.js";
import { el, announce, show } from "./dom.js";
import { keepingFocus } from "./focus.js";
import { escaped } from "./hidden.js";
import { historyPage } from "./history.js";
import { counted, heading, runs } from "./list.js";
import { OpenGates } from "./open.js";
import { operations } from "./operations.js";
import { Output } from "./output.js";
import { isEnded, load, picture, progress } from "./run.js";
import { askForToken, enter, session } from "./session.js";
import { follow } from "./stream.js";
import { submission } from "./submit.js";
import { setNow } from "./time.js";

const PUSH_CHECK_MS = 2000, RETRY_MS = 3000;
let stream = null;
let spoken = null;
let view = 0;
let hasSignedIn = false;
const main = document.getElementById("main");
// The address of the page names what is shown, so that the link cannot be one.
document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });

async function start() {
  try {
    await enter();
  } catch (error) {
    if (error.status !== 401) return fail(error);
    hasSignedIn = true;
    return askForToken(start);
  }
  offer();
  addEventListener("hashchange", route);
  await route();
}

async function route() {
  stream?.close();
  spoken?.close();
  const mine = ++view;
  for (const link of document.querySelectorAll("nav a")) link.setAttribute("aria-current", link.hash === location.hash ? "page" : "false");
  const match = location.hash.match(/^#\/runs\/(run_[0-9a-f]{32})$/);
  try {
    if (match) await showRun(match[1], mine);
    else if (location.hash === "#/new") await showPage("New intent", submission, mine);
    else if (location.hash === "#/away") await showPage("Out of office", absences, mine);
    else if (location.hash === "#/history") await showPage("History", () => historyPage(fail), mine);
    else if (/^(#(\/(\?.*)?)?)?$/.test(location.hash)) showInbox(mine);
    else await showPage("No such page", nowhere, mine);
  } catch (error) {
    fail(error);
  }
}

function showInbox(mine) {
  document.title = "Sisu inbox";
  const open = new OpenGates();
  const head = el("div", { id: "heading" }, el("h1", {}, "Inbox"));
  const rest = el("div", { id: "rest" });
  show(head, open.section, rest);
  arrive();
  const refresh = () => open.refresh().catch((error) => { if (mine === view) fail(error); });
  refresh();
  keepFresh("inbox", (inbox) => {
    if (mine !== view) return;
    setNow(inbox.now);
    tell(inbox);
    document.title = inbox.gates.length ? `(${counted(inbox)}) Sisu inbox` : "Sisu inbox";
    head.replaceChildren(...heading(inbox));
    keepingFocus(rest, () => rest.replaceChildren(...runs(inbox, session.dagsterUrl)));
    refresh();
  });
}

const nowhere = () => [el("h1", {}, "No such page"), el("p", {}, "The address names no page. The id of a run is complete: run_ and 32 characters."),
  el("p", {}, el("a", { href: "#/" }, "To the inbox"))];

async function showPage(title, make, mine) {
  document.title = `${title} · Sisu inbox`;
  document.getElementById("connection").textContent = "";
  const made = await make();
  if (mine !== view) return;
  show(made);
  arrive();
}

async function showRun(id, mine) {
  document.getElementById("connection").textContent = "";
  let drawings = 0, followed = null, latest = null, last = null, lastProgress = null;
  const output = spoken = new Output(id);
  const draw = async () => {
    const drawing = ++drawings;
    const loaded = await load(id);
    // The later request has the newer state, even if its response arrives first.
    if (mine !== view || drawing !== drawings) return null;
    keepingFocus(main, () => show(picture(loaded, drawLater, output), operations(loaded, drawLater)));
    [last, lastProgress] = [shape(loaded.run), progressShape(loaded.run)];
    // The push follows the end of the run, which has no events any more.
    if (loaded.run.push?.state === "waiting") setTimeout(drawLater, PUSH_CHECK_MS);
    document.title = `${escaped(loaded.title)} · Sisu inbox`;
    return loaded;
  };
  // What is shown stays until the server answers again.
  const drawLater = async () => {
    if (mine !== view) return;
    try {
      const loaded = await draw();
      if (loaded) watch(loaded.run);
    } catch (error) {
      if (error.isPassing) setTimeout(drawLater, RETRY_MS);
      else fail(error);
    }
  };
  const first = await draw();
  if (!first) return;
  arrive();
  watch(first.run);

  // An ended run has one further event: it is executed again, here or elsewhere.
  function watch(run) {
    const wanted = isEnded(run) ? "restart" : "run";
    if (mine !== view || followed === wanted) return;
    followed = wanted;
    stream?.close();
    if (wanted === "run") keepFresh(`run ${id}`, receive, () => { followed = null; if (latest && isEnded(latest)) watch(latest); });
    else {
      stream = follow(`restart ${id}`, (restarted) => { watch(restarted); receive(restarted); }, { refused: signInAgain });
      document.getElementById("connection").textContent = "";
    }
  }

  async function receive(run) {
    if (mine !== view) return;
    latest = run;
    output.follow(run);
    if (progressShape(run) !== lastProgress) document.getElementById("progress")?.replaceChildren(...progress(run));
    lastProgress = progressShape(run);
    // Redrawn only when more than the progress changed: the user may be typing.
    if (shape(run) !== last) {
      last = shape(run);
      if (isDeciding()) return; // The decision's own answer redraws it.
      if (isWriting()) announce("This run has changed since you started typing.");
      else await drawLater();
    }
  }
}

const shape = (run) => JSON.stringify([run.status, run.nextAction, run.lastStep, run.gate, run.decision, run.tasks.failed > 0]);
const progressShape = (run) => JSON.stringify([shape(run), run.error, run.tasks, run.waitsFor, run.dagsterRunId]);

const WRITTEN = ["notes", "comment", "operation-reason", "assignees", "assignment-reason"];

function isWriting() {
  const fields = [...document.querySelectorAll(WRITTEN.map((name) => `main [name=${name}]`).join(", "))];
  return fields.some((field) => field.value !== field.defaultValue) || Boolean(document.querySelector("#editor textarea, textarea.comment"));
}

const isDeciding = () => Boolean(document.querySelector("#gate button:disabled"));

function keepFresh(topic, receive, ended = () => {}) {
  const place = document.getElementById("connection");
  const status = (text) => { if (place.textContent !== text) place.textContent = text; };
  stream = follow(topic, receive, {
    glances: true,
    opened: () => status("Live"),
    failed: () => status("Reconnecting…"),
    refused: signInAgain,
    ended: () => { stream.close(); status(""); ended(); },
  });
}

function signInAgain() {
  stream?.close();
  spoken?.close();
  askForToken(() => location.reload());
}

function arrive() {
  if (view > 1 || hasSignedIn) main.focus();
}

function fail(error) {
  if (error.status === 401) return signInAgain();
  const retry = el("button", { type: "button", class: "main", onclick: again }, "Try again");
  show(el("h1", {}, "The request failed"), el("p", { class: "bad", role: "alert" }, error.message),
    el("div", { class: "verbs" }, retry), el("p", {}, el("a", { href: "#/" }, "To the inbox")));
  // A server that is starting, or a proxy without one: the page recovers by itself.
  if (error.isPassing) setTimeout(() => { if (retry.isConnected) again(); }, RETRY_MS);

  function again() {
    if (session) route();
    else location.reload();
  }
}

start();
