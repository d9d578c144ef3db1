// The server, as the page uses it. Addresses are relative, so that the page may lie below any path.

const API = "api/v1";

/** An answer that is none: `error` is its name for programs, `hint` what to do. */
export class ApiError extends Error {
  constructor({ error = "internal", message = "the server gave no answer", hint = null }, status = 0) {
    super(message);
    Object.assign(this, { error, hint, status });
  }
}

async function call(path, options = {}) {
  let response;
  try {
    response = await fetch(`${API}/${path}`, options);
  } catch (failed) {
    if (failed.name === "AbortError") throw failed;
    throw new ApiError({ error: "offline", message: "The server cannot be reached.", hint: "Is mmsearch serve still running?" });
  }
  if (response.ok) return response.json();
  let body = {};
  try {
    body = await response.json();
  } catch {
    // whatever stands between us and the server spoke
  }
  throw new ApiError(body, response.status);
}

const asJson = (method, value, signal) => ({
  method,
  signal,
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(value),
});

export const status = (troubles = 100) => call(`status?troubles=${troubles}`);
export const facets = () => call("facets");
export const queryLine = (line, k, signal) => call(`query?${new URLSearchParams({ q: line, k })}`, { signal });
export const query = (request, signal) => call("query", asJson("POST", request, signal));
export const similar = (request, signal) => call("similar", asJson("POST", request, signal));
export const item = (id, signal) => call(`items/${id}`, { signal });
export const moments = (id, request, signal) => call(`items/${id}/moments`, asJson("POST", request, signal));
export const explain = (id, request, signal) => call(`items/${id}/explain`, asJson("POST", request, signal));
export const uploadFacts = (id) => call(`uploads/${id}`);
export const feedback = (said) => call("feedback", asJson("POST", said));
export const reveal = (id) => call("reveal", asJson("POST", { item: id }));
export const startIndex = (wanted) => call("index", asJson("POST", wanted));
export const cancelIndex = () => call("index", { method: "DELETE" });

export function upload(file, name = file.name, signal = undefined) {
  const form = new FormData();
  form.append("file", file, name);
  return call("uploads", { method: "POST", body: form, signal });
}

export function waveform(id, { points, start = 0, end = null }, signal) {
  const query = new URLSearchParams({ points, start });
  if (end !== null) query.set("end", end);
  return call(`items/${id}/waveform?${query}`, { signal });
}

export const thumbnail = (id, size, seconds = 0) =>
  `${API}/items/${id}/thumbnail?size=${Math.min(1280, Math.max(16, Math.round(size)))}${seconds ? `&t=${seconds.toFixed(1)}` : ""}`;
export const uploadThumbnail = (id, size) => `${API}/uploads/${id}/thumbnail?size=${size}`;
export const media = (id) => `${API}/items/${id}/media`;
export const download = (id) => `${API}/items/${id}/media?download=true`;

/** Listen to indexing runs; gives what ends it. */
export function onJob(listen) {
  const events = new EventSource(`${API}/index/events`);
  events.addEventListener("job", (event) => listen(JSON.parse(event.data)));
  return () => events.close();
}
