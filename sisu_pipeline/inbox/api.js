// Client of the API. An error response becomes an Error with a readable message.

export class Refused extends Error {
  constructor(status, problem) {
    const places = (problem.details || []).map((detail) => `${detail.pointer || "/"}: ${detail.message}`);
    super([problem.error, ...places].join("\n"));
    this.status = status;
    this.code = problem.code;
    this.details = problem.details ?? [];
    this.isPassing = status >= 500;
  }
}

const UNKNOWN = "The request may have been executed. Send it again: a repeated request is executed once.";

// A proxy's own error page is not shown.
const errorOf = (status) => `The server is not available (HTTP ${status}). ${status >= 500 ? "Try again in a moment." : ""}`;

export const get = (path) => ask("GET", path);
export const post = (path, body) => ask("POST", path, body);

// A page that was opened with a name and a password in its address cannot send requests to a relative one.
export const address = (path) => new URL(path, location.origin).href;

// Without encoded slashes: some proxies refuse them.
export const artifactPath = (uri) => `/artifacts/${uri.replace("artifact://", "").split("/").map(encodeURIComponent).join("/")}`;

const TIMEOUT_MS = 15_000;

async function ask(method, path, body) {
  const sent = body === undefined ? undefined : JSON.stringify(body);
  const headers = sent === undefined ? {} : { "Content-Type": "application/json" };
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const options = { method, headers, body: sent, signal, credentials: "same-origin", cache: "no-store" };
  try {
    const answer = await fetch(address(path), options);
    if (answer.status === 204) return null;
    const read = await answer.json().catch((failure) => { if (answer.ok) throw failure; return { error: errorOf(answer.status) }; });
    if (answer.ok) return read;
    throw new Refused(answer.status, read);
  } catch (failure) {
    throw failure instanceof Refused ? failure : new Unanswered(method, failure);
  }
}

// No answer to a request that changes something leaves open whether the server executed it.
class Unanswered extends Error {
  constructor(method, failure) {
    const reason = failure.name === "TimeoutError" ? `The server did not answer within ${TIMEOUT_MS / 1000} seconds.` : "The server cannot be reached.";
    super(`${reason} ${method === "GET" ? "Try again." : UNKNOWN}`);
    this.isPassing = true;
  }
}
