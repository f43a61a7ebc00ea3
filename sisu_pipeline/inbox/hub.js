// All that the tabs of a browser follow, in one stream: a browser has six connections for one site, all tabs together.

import { address } from "./api.js";

const FIRST_RETRY_MS = 500, LONGEST_RETRY_MS = 8000;
// The server sends an event at least every 15 seconds: longer silence is a lost connection.
const SILENCE_MS = 40_000;
const SETTLE_MS = 20;
const KEPT = { inbox: 1, run: 1, output: 500, restart: 1 };
const MOST = 64;

// A topic is `inbox`, `run <id>`, `output <id>` or `restart <id>`. A client receives {topic, data, id}, {topic, ended} and {state}, which is
// open, failed or refused.
export class Hub {
  constructor() {
    this.clients = new Map();
    this.topics = new Map();
    this.source = null;
    this.path = "";
    this.state = null;
    this.retryMs = FIRST_RETRY_MS;
    this.timer = null;
    this.heardAt = 0;
    setInterval(() => { if (this.source && Date.now() - this.heardAt > SILENCE_MS) this.fail(); }, 5000);
  }

  // What a client follows from now on. It receives the latest events of what it did not follow before.
  set(client, topics, tell) {
    const before = this.clients.get(client)?.topics || [];
    if (topics.length) this.clients.set(client, { topics, tell });
    else this.clients.delete(client);
    const followed = this.followed();
    for (const topic of this.topics.keys()) if (!followed.has(topic)) this.topics.delete(topic);
    for (const topic of followed) if (!this.topics.has(topic)) this.topics.set(topic, { kept: [], hasEnded: false });
    for (const topic of topics.filter((each) => !before.includes(each))) this.introduce(topic, tell);
    this.arrange();
  }

  introduce(topic, tell) {
    const { kept, hasEnded } = this.topics.get(topic);
    if (this.state) tell({ state: this.state });
    for (const each of kept) tell({ topic, ...each });
    if (hasEnded) tell({ topic, ended: true });
  }

  followed() {
    return new Set([...this.clients.values()].flatMap(({ topics }) => topics));
  }

  wanted() {
    return pathOf([...this.topics].filter(([, { hasEnded }]) => !hasEnded).map(([topic]) => topic));
  }

  // Opens the stream for what is followed now, unless it is open for just that. A failed one waits for its own timer.
  arrange() {
    const path = this.wanted();
    if (!path) return this.rest();
    if (this.timer && this.state === "failed") return;
    clearTimeout(this.timer);
    if (path === this.path) return;
    this.timer = setTimeout(() => this.open(), SETTLE_MS);
  }

  open() {
    this.timer = null;
    const path = this.wanted();
    this.source?.close();
    this.source = null;
    if (!path) return;
    const source = this.source = new EventSource(address(path));
    this.path = path;
    this.heardAt = Date.now();
    const hear = (name, receive) => source.addEventListener(name, (event) => {
      if (source !== this.source) return;
      this.heardAt = Date.now();
      receive(event);
    });
    hear("open", () => this.become("open"));
    hear("error", () => this.fail());
    hear("alive", () => {});
    for (const name of Object.keys(KEPT)) hear(name, (event) => this.receive(name, JSON.parse(event.data), Number(event.lastEventId)));
    hear("end", (event) => this.end(JSON.parse(event.data)));
  }

  receive(name, data, id) {
    this.retryMs = FIRST_RETRY_MS;
    const topic = name === "inbox" ? name : `${name} ${data.runId}`;
    const known = this.topics.get(topic);
    // Opened again, a stream repeats its last minute of output.
    if (!known || (name === "output" && id <= (known.kept.at(-1)?.id ?? 0))) return;
    known.kept.push({ data, id });
    if (known.kept.length > KEPT[name]) known.kept.shift();
    this.tell(topic, { topic, data, id });
  }

  end({ kind, runId }) {
    const topic = `${kind} ${runId}`;
    const known = this.topics.get(topic);
    if (!known) return;
    known.hasEnded = true;
    this.tell(topic, { topic, ended: true });
    if ([...this.topics.values()].every(({ hasEnded }) => hasEnded)) this.rest();
  }

  tell(topic, message) {
    for (const { topics, tell } of this.clients.values()) if (!topic || topics.includes(topic)) tell(message);
  }

  become(state) {
    this.state = state;
    this.tell(null, { state });
  }

  // Whatever failed, also a proxy's 502: the stream is opened again after a pause that grows.
  fail() {
    this.rest();
    this.become("failed");
    this.timer = setTimeout(() => this.open(), this.retryMs * (0.75 + Math.random() / 2));
    this.retryMs = Math.min(2 * this.retryMs, LONGEST_RETRY_MS);
    fetch(address("/session"), { cache: "no-store" }).then(({ status }) => { if (status === 401) this.become("refused"); }, () => {});
  }

  rest() {
    clearTimeout(this.timer);
    this.timer = null;
    this.source?.close();
    this.source = null;
    this.path = "";
    this.state = null;
  }
}

function pathOf(topics) {
  const ids = (kind) => topics.filter((topic) => topic.startsWith(`${kind} `)).map((topic) => topic.slice(kind.length + 1)).slice(-MOST).sort().join(",");
  const parts = [topics.includes("inbox") && "inbox=yes", ids("run") && `runs=${ids("run")}`, ids("output") && `output=${ids("output")}`,
    ids("restart") && `restarts=${ids("restart")}`].filter(Boolean);
  return parts.length ? `/events?${parts.join("&")}` : "";
}
