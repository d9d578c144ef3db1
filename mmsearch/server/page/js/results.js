// What was found, and the states in which nothing was.
import { cell } from "./cell.js";
import { announce, byId, h, icon } from "./dom.js";
import { labels } from "./filters.js";
import { count, plural } from "./format.js";
import { Grid } from "./grid.js";
import { addressOf } from "./state.js";

/** The results of a query. */
export class Results {
  /** `onOpen(index)` opens one; `onMore` is called near the end of the list; `onLeave` when the focus goes up and out. */
  constructor({ onOpen, onMore, onLeave }) {
    this.answer = null;
    this.isDimmed = false;
    this.grid = new Grid(byId("grid"), (hit, index, size) => cell(hit, {
      index, size, onOpen, isDimmed: this.isDimmed, address: addressOf(this.answer.query.line, hit.item, hit.start),
    }), { onNearEnd: onMore });
    byId("grid").addEventListener("leave", onLeave);
  }

  get hits() {
    return this.answer?.hits ?? [];
  }

  /** Show an answer. `keep`: it is the same with more behind it; `notes`: what is said above it. */
  show(answer, { keep = false, onClear = null, notes = [] } = {}) {
    this.answer = answer;
    const { hits, matches_well: matchesWell } = answer;
    const wasDimmed = this.isDimmed;
    this.isDimmed = matchesWell === false;
    const filtered = labels({ kinds: [], within: [], ...answer.query.request });
    const standing = hits.filter((hit) => hit.stands_out).length;
    const summary = !hits.length ? "" : this.isDimmed ? `${plural(hits.length, "nearest result")}` : standing < hits.length && standing ? `${plural(standing, "match", "matches")}, ${count(hits.length - standing)} more only near` : plural(hits.length, "result");
    byId("summary").replaceChildren(
      ...(summary ? [h("h2", {}, summary), h("span", {}, `${answer.seconds < 0.01 ? "< 0.01" : answer.seconds.toFixed(2)} s`)] : []),
      ...[answer.advice, ...notes].filter(Boolean).map((note) => h("p", { class: "advice" }, note)));
    const narrowed = filtered.length > 0;
    const clear = narrowed && onClear ? h("button", { class: "button", type: "button", onclick: onClear }, "Search without filters") : null;
    if (!hits.length) {
      this.#notice("none", narrowed ? "Nothing passes the filters" : "Nothing found", narrowed ? `They let through only: ${filtered.join(", ")}.` : "There is nothing in the library that could answer.", clear);
    } else if (this.isDimmed) {
      this.#notice("none", "Nothing here matches well", narrowed
        ? "Other words may help, or fewer filters. The nearest are shown below."
        : "Other words may help. The nearest are shown below.", clear);
    } else this.#notice(null);
    byId("grid").hidden = !hits.length;
    if (hits.length) this.grid.show(hits, "Results", { keep, isAlike: this.isDimmed === wasDimmed });
    else this.grid.show([], "Results");
    if (!keep) announce(!hits.length ? byId("notice").querySelector("h2").textContent : this.isDimmed ? `Nothing here matches well. ${summary}` : summary);
  }

  /** Show nothing of what was there before. */
  clear() {
    this.answer = null;
    byId("summary").replaceChildren();
    this.#notice(null);
    this.grid.show([], "Results");
  }

  /** Show what went wrong in the place of results. */
  fail(error, action = null) {
    this.answer = null;
    byId("summary").replaceChildren();
    this.grid.show([], "Results");
    byId("grid").hidden = true;
    this.#notice("alert", sentence(error.message), error.hint ? sentence(error.hint) : "", action, true);
    announce(sentence(error.message));
  }

  #notice(iconName, title = "", text = "", action = null, isBad = false) {
    const notice = byId("notice");
    notice.hidden = !iconName;
    notice.classList.toggle("is-bad", isBad);
    notice.replaceChildren(...(iconName ? [icon(iconName), h("h2", {}, title), h("p", {}, text), action].filter(Boolean) : []));
  }
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** What stands on the page before anything is asked. */
export function showWelcome(status) {
  const root = byId("welcome");
  if (!status) {
    root.replaceChildren();
    return;
  }
  const files = Object.values(status.kinds).reduce((sum, number) => sum + number, 0);
  if (status.empty) {
    root.replaceChildren(h("p", {}, "The library is empty: nothing can be found yet."),
      h("a", { class: "button is-main", href: "?view=library", dataset: { view: "library" } }, icon("library"), "See the library"));
    return;
  }
  root.replaceChildren(h("ul", {},
    h("li", {}, icon("search"), "Type what is seen, said or heard"),
    h("li", {}, icon("attach"), "Drop or paste a file to find what is like it"),
    byId("record").hidden ? null : h("li", {}, icon("mic"), "Record a sound")),
  h("p", { class: "note" }, `${count(files)} files in ${plural(status.roots.length, "folder")}, with the model ${status.model}`));
}
