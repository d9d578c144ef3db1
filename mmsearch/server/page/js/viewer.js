// One result, large: the picture, the video or the sound at its second, the text at its line, and what is known of it.
import * as api from "./api.js";
import { byId, h, hidden, icon } from "./dom.js";
import { KINDS, count } from "./format.js";
import { Panel } from "./panel.js";
import { makeStage } from "./stage.js";

export class Viewer {
  /** `hooks`: onClose(), onStep(index), onSimilar(item), onAdd(item, weight), onNear(near). */
  constructor(hooks) {
    this.hooks = hooks;
    this.dialog = byId("viewer");
    this.itemId = null;
    this.index = null;
    this.stage = null;
    this.dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      hooks.onClose();
    });
    this.dialog.addEventListener("keydown", (event) => this.#onKey(event));
  }

  get isOpen() {
    return this.dialog.open;
  }

  /** Open a hit, or only {item, start, end}. `at`: the second to begin at, if not the hit's own. */
  async show(hit, { request, index, count: total, status, at = null }) {
    this.#leave();
    const control = (this.control = new AbortController());
    Object.assign(this, { itemId: hit.item, index, total });
    const frame = this.#frame(hit);
    this.dialog.replaceChildren(frame);
    if (!this.dialog.open) this.dialog.showModal();
    this.dialog.scrollTop = 0;
    this.dialog.querySelector(".close").focus();
    let item;
    try {
      item = await api.item(hit.item, control.signal);
    } catch (failed) {
      if (failed.name !== "AbortError") frame.querySelector(".stage").replaceChildren(h("p", { class: "note" }, failed.status === 404 ? "This file is no longer in the library." : failed.message));
      return;
    }
    if (control.signal.aborted) return;
    frame.querySelector("h2").textContent = item.name;
    this.stage = makeStage(frame.querySelector(".stage"), item, hit, { at: at ?? hit.start ?? 0, signal: control.signal });
    this.panel = new Panel(frame.querySelector(".side"), item, hit, { request, status, stage: this.stage, hooks: this.hooks, signal: control.signal });
  }

  /** Close without a word to anybody. */
  hide() {
    this.#leave();
    if (this.dialog.open) this.dialog.close();
    this.dialog.replaceChildren();
  }

  #leave() {
    this.control?.abort();
    this.stage?.end();
    this.stage = this.panel = null;
    this.itemId = null;
  }

  #frame(hit) {
    const { index, total } = this;
    const step = (to, iconName, label) => h("button", {
      class: "tool", type: "button", title: label, disabled: index === null || to < 0 || to >= total, onclick: () => this.hooks.onStep(to),
    }, icon(iconName), hidden(label));
    return h("div", { class: "viewer-frame" },
      h("header", { class: "viewer-bar" },
        h("div", { class: "title" }, h("h2", { id: "viewer-name" }, hit.name ?? "Result")),
        index === null ? null : h("span", { class: "where" }, `${count(index + 1)} of ${count(total)}`),
        index === null ? null : step(index - 1, "left", "Previous result"),
        index === null ? null : step(index + 1, "right", "Next result"),
        h("button", { class: "tool close", type: "button", title: "Close (Esc)", onclick: () => this.hooks.onClose() }, icon("close"), hidden("Close"))),
      h("div", { class: `stage is-${hit.kind ?? "loading"}` }),
      h("aside", { class: "side", "aria-label": `About this ${KINDS[hit.kind]?.one.toLowerCase() ?? "file"}`, tabIndex: 0 }));
  }

  #onKey(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || event.defaultPrevented) return;
    const { target } = event;
    const steps = { ArrowLeft: -1, ArrowRight: 1 };
    if (event.key in steps && this.index !== null && !target.matches("video, input, [role=slider]")) {
      const to = this.index + steps[event.key];
      if (to < 0 || to >= this.total) return;
      event.preventDefault();
      this.hooks.onStep(to);
    } else if ((event.key === " " && !target.matches("button, a, video, input")) || event.key === "k") {
      if (!this.stage?.media) return;
      event.preventDefault();
      this.stage.toggle();
    }
  }
}
