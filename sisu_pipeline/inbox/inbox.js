// The page: who is there, which view is shown, and the stream that keeps it fresh.

import { offer, tell } from "./alerts.js";
import { el, announce, show } from "./dom.js";
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

async function start() {
  try {
    await enter();
  } catch (error) {
    if (error.status !== 401) return fail(error);
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
  const match = location.hash.match(/^#\/runs\/(run_[0-9a-f]{32})$/);
  try {
    if (match) await showRun(match[1], mine);
    else if (location.hash === "#/new") await showPage("New intent", submission, mine);
    else if (location.hash === "#/history") await showPage("History", () => historyPage(fail), mine);
    else showInbox(mine);
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
    redraw(() => rest.replaceChildren(...runs(inbox, session.dagsterUrl)));
    refresh();
  });
}

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
  let drawings = 0, isFollowed = false, last = null, lastProgress = null;
  const output = spoken = new Output(id);
  const draw = async () => {
    const drawing = ++drawings;
    const loaded = await load(id);
    // The later request has the newer state, even if its response arrives first.
    if (mine !== view || drawing !== drawings) return loaded;
    show(picture(loaded, drawLater, output), operations(loaded, drawLater));
    // The push follows the end of the run, which has no events any more.
    if (loaded.run.push?.state === "waiting") setTimeout(drawLater, PUSH_CHECK_MS);
    document.title = `${loaded.plan ? escaped(loaded.plan.plan.goal) : id} · Sisu inbox`;
    return loaded;
  };
  // What is shown stays until the server answers again.
  const drawLater = async () => {
    if (mine !== view) return;
    try {
      watch((await draw()).run);
    } catch (error) {
      if (error.isPassing) setTimeout(drawLater, RETRY_MS);
      else fail(error);
    }
  };
  const { run: drawn } = await draw();
  if (mine !== view) return;
  arrive();
  watch(drawn);

  // An ended run has no further events, unless it is executed again.
  function watch(run) {
    if (mine !== view || isFollowed || isEnded(run)) return;
    isFollowed = true;
    [last, lastProgress] = [shape(run), progressShape(run)];
    keepFresh(`run ${id}`, receive, () => { isFollowed = false; });
  }

  async function receive(run) {
    if (mine !== view) return;
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

function isWriting() {
  const fields = [...document.querySelectorAll("#gate textarea, #gate input:not([name=by]), #operations input:not([name=by])")];
  return fields.some((field) => field.value !== field.defaultValue && ["notes", "comment", "operation-reason"].includes(field.name)) || Boolean(document.querySelector("#editor textarea, textarea.comment"));
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

// Keeps the focus on what the person was at, by its address.
function redraw(draw) {
  const href = document.activeElement?.getAttribute("href");
  draw();
  if (href) document.querySelector(`#rest a[href="${CSS.escape(href)}"]`)?.focus();
}

function arrive() {
  if (view > 1) document.getElementById("main").focus();
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
