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

export const artifactPath = (uri) => `/artifacts/${encodeURIComponent(uri)}`;

async function ask(method, path, body) {
  const sent = body === undefined ? undefined : JSON.stringify(body);
  const headers = sent === undefined ? {} : { "Content-Type": "application/json" };
  const answer = await fetch(path, { method, headers, body: sent, credentials: "same-origin", cache: "no-store" });
  if (answer.status === 204) return null;
  const read = await answer.json().catch(() => ({ error: `HTTP ${answer.status}` }));
  if (!answer.ok) throw new Refused(answer.status, read);
  return read;
}
