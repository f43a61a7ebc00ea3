// Client of the API. An error response becomes an Error with a readable message.

export class Refused extends Error {
  constructor(status, problem) {
    const places = (problem.details || []).map((detail) => `${detail.pointer || "/"}: ${detail.message}`);
    super([problem.error, ...places].join("\n"));
    this.status = status;
    this.code = problem.code;
  }
}

export const get = (path) => ask("GET", path);
export const post = (path, body) => ask("POST", path, body);

// Without encoded slashes: some proxies refuse them.
export const artifactPath = (uri) => `/artifacts/${uri.replace("artifact://", "").split("/").map(encodeURIComponent).join("/")}`;

const TIMEOUT_MS = 30_000;

async function ask(method, path, body) {
  const sent = body === undefined ? undefined : JSON.stringify(body);
  const headers = sent === undefined ? {} : { "Content-Type": "application/json" };
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const answer = await fetch(path, { method, headers, body: sent, signal, credentials: "same-origin", cache: "no-store" }).catch(unanswered);
  if (answer.status === 204) return null;
  const read = await answer.json().catch(() => ({ error: `HTTP ${answer.status}` }));
  if (!answer.ok) throw new Refused(answer.status, read);
  return read;
}

function unanswered(failure) {
  const reason = failure.name === "TimeoutError" ? "The server did not answer within 30 seconds" : "The server cannot be reached";
  throw new Error(`${reason}. Close other tabs of this site, or try again.`);
}
