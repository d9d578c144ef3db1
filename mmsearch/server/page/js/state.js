// What is asked, and the address bar that holds it.
//
// The line of a query (?q=) is the server's: it writes and reads it, so there is one grammar. The entry in the history
// also keeps the request itself, which spares reading the line when going back or reloading.

const DEFAULTS = {
  kinds: [], within: [], after: null, before: null, min_seconds: null, max_seconds: null, near: null, name: null,
  fusion: "auto", metric: "cosine", confident: false, moments: false, not_below: null, words: true,
};

export const FIRST_RESULTS = 200;

/** A request without what is as it would be anyway. */
export function trimmed(request) {
  const kept = { terms: request.terms };
  for (const [name, value] of Object.entries(DEFAULTS)) {
    const given = request[name];
    if (given !== undefined && given !== null && JSON.stringify(given) !== JSON.stringify(value)) kept[name] = given;
  }
  return kept;
}

/** The filters and options of a request, all of them. */
export function filtersOf(request) {
  return Object.fromEntries(Object.entries(DEFAULTS).map(([name, value]) => [name, request?.[name] ?? value]));
}

/** The item that a request looks for things like, when it is about nothing else. */
export function soleItem(request) {
  const [term, ...others] = request.terms;
  return !others.length && term?.item && (term.weight ?? 1) > 0 ? term.item : null;
}

/** What quotes round a term hold off: a sign, an option, a weight, a prefix, the name of a file. Else they make a phrase. */
const HELD_OFF = /["\\/]|(^|\s)[+-](\s|$)|(^|\s)--[a-z]|^[\d.]+:[^\s\d]|^(text|image|audio|video|document|file):\S|\.[a-z]\w{1,4}$/i;

/**
 * What a line of a query most likely asks, to be shown until the server has read it: its terms, without the options
 * behind them. Whatever looks odd stays text, which the server will say more of.
 */
export function guessed(line) {
  const parts = line.match(/"(?:[^"\\]|\\.)*"|\s[+-](?=\s)|[^"\s]+|\s+|"/g) ?? [];
  const terms = [{ text: "", sign: 1 }];
  for (const part of parts) {
    if (/^--[a-z]/i.test(part)) break; // options are shown as filters, by the server's reading of them
    if (/^\s[+-]$/.test(part)) terms.push({ text: "", sign: part[1] === "-" ? -1 : 1 });
    else terms.at(-1).text += part;
  }
  return terms.map(({ text, sign }) => {
    const [, times = "1", prefix, body] = /^(?:(\d+(?:\.\d+)?):(?=[^\s\d]))?(text:(?=\S))?(.*)$/su.exec(text.trim());
    const [, kind = "text", id] = /^(item|upload):([0-9a-f]{32,40}(?:-[a-z0-9]+)?)$/.exec(body) ?? [];
    const quoted = /^"(.*)"$/s.exec(body)?.[1];
    const isPhrase = quoted !== undefined && !prefix && !HELD_OFF.test(quoted);
    const words = quoted === undefined || isPhrase ? body : quoted.replace(/\\(["\\])/g, "$1");
    return { [kind]: id ?? words, weight: sign * Number(times) };
  }).filter((term) => term.text !== "");
}

/** What the address bar says: {view, line, item, at}. */
export function fromAddress() {
  const address = new URLSearchParams(location.search);
  const at = Number.parseFloat(address.get("t"));
  return {
    view: address.get("view") === "library" ? "library" : "search",
    line: address.get("q") ?? "",
    item: address.get("item"),
    at: Number.isFinite(at) ? at : null,
  };
}

/** The address of a query, perhaps with one result open at some second. */
export function addressOf(line, item = null, at = null) {
  const address = new URLSearchParams();
  if (line) address.set("q", line);
  if (item) address.set("item", item);
  if (item && at !== null) address.set("t", String(Math.round(at * 100) / 100));
  const text = address.toString();
  return text ? `?${text}` : "./";
}

/** Go to an address, or put it in the place of the present one. */
export function go(address, state, replace = false) {
  const full = new URL(address, document.baseURI).href;
  if (replace) history.replaceState(state, "", full);
  else history.pushState(state, "", full);
}
