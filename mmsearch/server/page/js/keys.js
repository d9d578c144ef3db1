// Keys that work everywhere on the page; the grid, the viewer and the terms have their own.
import { byId, h, icon } from "./dom.js";

const KEYS = [
  [["/"], "To the search box"],
  [["Enter"], "Search; open a result"],
  [["Shift", "Enter"], "Keep the words as a term of their own, and type more"],
  [["↓"], "From the box to the results"],
  [["←", "↑", "→", "↓"], "Among results; ← → from one open result to the next"],
  [["+", "−"], "Weight of the focused term"],
  [["Del"], "Remove the focused term"],
  [["Space"], "Play or pause"],
  [["Esc"], "Close, or back to the results"],
  [["?"], "These keys"],
];

const isTyping = (target) => target.matches?.("input:not([type=range], [type=checkbox]), textarea, select") ?? false;

export function startKeys({ terms, results }) {
  const sheet = byId("keys-sheet");
  const open = () => {
    sheet.replaceChildren(
      h("header", {}, h("h2", { id: "keys-title" }, "Keys"), h("button", { class: "tool", type: "button", "aria-label": "Close", onclick: () => sheet.close() }, icon("close"))),
      h("dl", { class: "key-list" }, KEYS.flatMap(([keys, words]) => [h("dt", {}, keys.map((key) => h("kbd", {}, key))), h("dd", {}, words)])));
    sheet.showModal();
  };
  byId("keys").addEventListener("click", open);
  sheet.addEventListener("click", (event) => event.target === sheet && sheet.close());
  addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.defaultPrevented || document.querySelector("dialog[open]")) return;
    if (event.key === "/" && !isTyping(event.target)) {
      event.preventDefault();
      terms.words.focus();
      terms.words.select();
    } else if (event.key === "?" && !isTyping(event.target)) {
      event.preventDefault();
      open();
    } else if (event.key === "ArrowDown" && event.target === terms.words && results.hits.length && !byId("results").hidden) {
      event.preventDefault();
      results.grid.focus(results.grid.current);
    }
  });
}
