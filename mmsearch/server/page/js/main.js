// The page put together: what is asked, what the address bar says, and which view is shown.
import * as api from "./api.js";
import { announce, byId, h } from "./dom.js";
import { Filters } from "./filters.js";
import { startIntake } from "./intake.js";
import { startKeys } from "./keys.js";
import { LibraryView } from "./library.js";
import { Results, showWelcome } from "./results.js";
import { FIRST_RESULTS, addressOf, fromAddress, go, guessed, soleItem, trimmed } from "./state.js";
import { Terms } from "./terms.js";
import { startTheme } from "./theme.js";
import { Viewer } from "./viewer.js";

const KEPT_ANSWERS = 12;
const answers = new Map(); // by line: going back shows what was there, at once

let status = null;
let asking = null; // what ends the query in hand
let growing = false;
let shown = null; // the line whose results are shown

const terms = new Terms(() => ask());
const filters = new Filters(byId("filters"), () => terms.value.length && ask());
const results = new Results({ onOpen: (index) => open(index), onMore: () => more(), onLeave: () => terms.words.focus() });
const viewer = new Viewer({
  onClose: closeViewer,
  onStep: (index) => open(index, true),
  onSimilar: (item) => like(item),
  onAdd: (item, weight) => addItem(item, weight),
  onNear: (near) => near && nearPlace(near),
});
const library = new LibraryView({ onChanged: refresh, onJob: showJob });

// --- asking ---

/** Ask what the box and the filters say. */
async function ask({ replace = false } = {}) {
  const request = { ...filters.values, terms: terms.value };
  if (!request.terms.length) {
    if (!terms.isWaiting) home();
    return;
  }
  await run(request, { push: replace ? "replace" : "push" });
}

/**
 * Ask a request, or read a line and ask it. `push`: "push", "replace" or null, for the address bar; `line`: instead of a
 * request.
 */
async function run(request, { push, line = null }) {
  asking?.abort();
  const control = (asking = new AbortController());
  if (shown === null) results.clear();
  if (request === null) terms.value = guessed(line); // at once: the server reads it exactly
  const before = JSON.stringify(terms.value);
  show("results");
  byId("results").setAttribute("aria-busy", "true");
  const busy = setTimeout(() => (byId("busy").hidden = false), 150);
  try {
    let answer = line !== null && request === null ? await api.queryLine(line, FIRST_RESULTS, control.signal) : null;
    if (answer && JSON.stringify(terms.value) === before) take(answer.query.request); // else somebody has typed meanwhile
    answer = await best(request ?? answer.query.request, answer, control.signal);
    if (asking !== control) return;
    keep(answer);
    if (push) {
      const isSame = answer.query.line === fromAddress().line && fromAddress().view === "search";
      go(addressOf(answer.query.line), { request: trimmed(answer.query.request) }, push === "replace" || isSame);
    }
    shown = answer.query.line;
    results.show(answer, shownWith(answer));
    document.title = `${titleOf(answer)} · mmsearch`;
    if (push) scrollTo(0, 0);
  } catch (failed) {
    if (failed.name === "AbortError" || asking !== control) return;
    shown = null;
    if (request === null && JSON.stringify(terms.value) === before) terms.value = [{ text: line }]; // to be mended
    results.fail(failed, actionFor(failed));
  } finally {
    clearTimeout(busy);
    if (asking === control) {
      settle();
    }
  }
}

/** No query is in hand any more. */
function settle() {
  asking?.abort();
  asking = null;
  byId("busy").hidden = true;
  byId("results").setAttribute("aria-busy", "false");
}

/** The answer to a request; `answer` if that is it already. What is like an item is asked in a way that leaves itself out. */
async function best(request, answer, signal, k = FIRST_RESULTS) {
  const item = soleItem(request);
  if (!item) return answer ?? api.query({ ...trimmed(request), k }, signal);
  const { terms: _terms, fusion: _fusion, metric: _metric, not_below: _below, words: _words, ...limits } = trimmed(request);
  return api.similar({ ...limits, item, k }, signal);
}

function keep(answer) {
  answers.delete(answer.query.line);
  answers.set(answer.query.line, answer);
  if (answers.size > KEPT_ANSWERS) answers.delete(answers.keys().next().value);
}

/** What stands around an answer: how to widen it, and what is to be known of its files. */
function shownWith(answer) {
  const { request, line } = answer.query;
  const item = soleItem(request);
  const itself = item ? h("a", { href: addressOf(line, item), onclick: (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    openItself(item);
  } }, "Show it") : null;
  const isPassing = request.terms.some((term) => term.upload);
  return { onClear: () => filters.clear(), notes: [
    itself ? h("span", {}, `${terms.chips[0]?.name ?? "The file"} is in the library itself. `, itself) : null,
    isPassing ? "A file of this search is not in the library: it can be reloaded until the server ends, but not kept or shared." : null,
  ] };
}

/** More results, when the end of those that are there comes near. */
async function more() {
  const { answer } = results;
  const most = status?.bounds.results ?? 5000;
  const had = answer?.query.request.k ?? 0;
  if (!answer || growing || answer.hits.length < had || had >= most) return;
  growing = true;
  try {
    const grown = await best(answer.query.request, null, undefined, Math.min(most, had * 5));
    if (results.answer !== answer) return;
    keep(grown);
    results.show(grown, { keep: true, ...shownWith(grown) });
  } catch {
    // what is there stays
  } finally {
    growing = false;
  }
}

function take(request) {
  terms.value = request.terms;
  filters.set(request);
}

function actionFor(failed) {
  if (failed.status === 404 && terms.chips.some((chip) => chip.upload || chip.item)) {
    return h("button", { class: "button", type: "button", onclick: () => {
      terms.value = terms.value.filter((_, at) => !terms.chips.some((chip) => chip.lost && (chip.upload ?? chip.item) === (terms.value[at].upload ?? terms.value[at].item)));
      ask();
    } }, "Search without it");
  }
  return failed.error === "offline" || failed.status === 503 ? h("button", { class: "button", type: "button", onclick: () => ask({ replace: true }) }, "Try again") : null;
}

const titleOf = (answer) => (answer.query.request.terms.find((term) => term.text)?.text ?? "What is like it").slice(0, 80);

function like(item) {
  terms.value = [{ item: item.item, weight: 1 }];
  Object.assign(terms.chips[0], { name: item.name, kind: item.kind });
  viewer.hide();
  ask();
}

function addItem(item, weight) {
  viewer.hide();
  terms.add({ item: item.item, weight }, { name: item.name, kind: item.kind });
}

function nearPlace(near) {
  viewer.hide();
  filters.set({ ...filters.values, near });
  ask();
}

// --- one result ---

function open(index, isStep = false) {
  const hit = results.hits[index];
  const { request } = results.answer.query;
  go(addressOf(shown, hit.item, hit.start), { request: trimmed(request), index, isOver: true }, isStep);
  viewer.show(hit, { request, index, count: results.hits.length, status });
}

function openItself(item) {
  go(addressOf(shown, item), { request: trimmed(results.answer.query.request), isOver: true });
  openFromAddress({ item, at: null });
}

function closeViewer() {
  if (history.state?.isOver) history.back(); // to the results that it was opened from
  else {
    viewer.hide();
    go(addressOf(shown ?? fromAddress().line), { request: history.state?.request }, true);
    if (!shown && !fromAddress().line) home();
  }
}

async function openFromAddress({ item, at }) {
  let index = results.hits.findIndex((hit) => hit.item === item && (at === null || hit.start === null || Math.abs(hit.start - at) < 0.01));
  if (index < 0) index = results.hits.findIndex((hit) => hit.item === item);
  const request = results.answer?.query.request ?? null;
  if (index >= 0) viewer.show(results.hits[index], { request, index, count: results.hits.length, status, at });
  else viewer.show({ item, start: at, end: null }, { request, index: null, count: 0, status, at });
}

// --- views ---

function show(view) {
  document.body.className = `is-${view}`;
  byId("welcome").hidden = view !== "home";
  byId("results").hidden = view !== "results";
  byId("library").hidden = view !== "library";
  byId("filters").hidden = view === "library" || !filters.facets || status?.empty;
  if (view === "library") byId("library-link").setAttribute("aria-current", "page");
  else byId("library-link").removeAttribute("aria-current");
  library.isShown = view === "library";
}

function home({ push = true } = {}) {
  settle();
  shown = null;
  document.title = "mmsearch";
  if (push && location.search) go("./", {});
  show("home");
  showWelcome(status);
}

function showLibrary({ push = true } = {}) {
  settle();
  document.title = "Library · mmsearch";
  if (push) go("?view=library", {});
  show("library");
  scrollTo(0, 0);
  library.refresh();
}

/** Show what the address bar says. */
async function follow() {
  const address = fromAddress();
  if (address.view === "library") {
    viewer.hide();
    showLibrary({ push: false });
    return;
  }
  if (!address.line) {
    terms.value = [];
    if (!address.item) viewer.hide();
    home({ push: false });
  } else if (address.line !== shown || byId("results").hidden) {
    const kept = answers.get(address.line);
    const request = kept?.query.request ?? history.state?.request ?? null;
    if (request) take(request);
    if (kept) {
      shown = address.line;
      show("results");
      results.show(kept, shownWith(kept));
      document.title = `${titleOf(kept)} · mmsearch`;
    } else await run(request, { push: null, line: address.line });
  }
  if (address.item) {
    if (viewer.itemId !== address.item || !viewer.isOpen) await openFromAddress(address);
  } else if (viewer.isOpen) {
    const { index } = viewer;
    viewer.hide();
    if (index !== null) results.grid.focus(index);
  }
}

async function refresh() {
  try {
    [status, filters.facets] = await Promise.all([api.status(), api.facets()]);
    answers.clear();
    filters.draw();
    if (document.body.classList.contains("is-home")) showWelcome(status);
    byId("filters").hidden = library.isShown || status.empty;
    library.take(status);
  } catch (failed) {
    announce(failed.message);
    if (!shown) results.fail(failed);
  }
}

function showJob(job) {
  const isOn = job.state === "running" || job.state === "cancelling";
  byId("library-link").classList.toggle("is-working", isOn);
  byId("library-link").title = isOn ? "Library: indexing" : "Library";
}

// --- the page itself ---

byId("search").addEventListener("submit", (event) => {
  event.preventDefault();
  if (terms.isWaiting) announce("A file is still being sent");
  ask();
  if (matchMedia("(pointer: coarse)").matches) terms.words.blur(); // the keyboard of a phone hides the results
});
byId("home").addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  terms.value = [];
  filters.set({});
  home();
  terms.words.focus();
});
document.addEventListener("click", (event) => {
  const link = event.target.closest("#library-link, [data-view=library]");
  if (!link || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  showLibrary();
});
addEventListener("popstate", follow);

startTheme();
startKeys({ terms, results });
startIntake(terms, () => status?.bounds);
if (!fromAddress().line && fromAddress().view === "search") show("home");
const ready = refresh();
await follow();
await ready;
if (document.body.classList.contains("is-home")) showWelcome(status);
document.documentElement.dataset.ready = "";
