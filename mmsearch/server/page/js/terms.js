// The terms of a query: the words in the box, and chips before them, each with a sign and a weight.
import * as api from "./api.js";
import { announce, byId, cardOf, h, hidden, icon } from "./dom.js";
import { KINDS } from "./format.js";

const WEIGHTS = [0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4];
const known = new Map(); // what chips of items and uploads are called

/** The search box. `onChange` is called when chips have changed and the query should be asked anew. */
export class Terms {
  constructor(onChange) {
    this.onChange = onChange;
    this.chips = []; // {text | item | upload | pending, weight, name, kind, lost}
    this.words = byId("words");
    this.list = byId("chips");
    this.words.addEventListener("input", () => this.#showAdd());
    this.words.addEventListener("keydown", (event) => this.#onKey(event));
    byId("add-words").addEventListener("click", () => this.addWords());
    this.list.addEventListener("keydown", (event) => this.#onChipKey(event));
  }

  /** Terms as a request has them. Files that are still on their way are left out. */
  get value() {
    const words = this.words.value.trim();
    const terms = words ? [{ text: words, weight: 1 }] : [];
    for (const chip of this.chips) {
      if (chip.pending) continue;
      const name = chip.item ? "item" : chip.upload ? "upload" : "text";
      terms.push({ [name]: chip[name], weight: chip.weight });
    }
    return terms;
  }

  /** Whether a file is still being sent. */
  get isWaiting() {
    return this.chips.some((chip) => chip.pending);
  }

  /** Show the terms of a request: the first plain words in the box, all else as chips. */
  set value(terms) {
    const main = terms.findIndex((term) => term.text && (term.weight ?? 1) === 1);
    this.words.value = main < 0 ? "" : terms[main].text;
    this.chips = terms.filter((_, at) => at !== main).map((term) => ({ ...term, weight: term.weight ?? 1 }));
    this.#draw();
    for (const chip of this.chips) this.#name(chip);
    this.#showAdd();
  }

  /** Add a term and ask. */
  add(term, { name = null, kind = null } = {}) {
    const chip = { ...term, weight: term.weight ?? 1, name, kind };
    if (name) known.set(term.item ?? term.upload, { name, kind });
    this.chips.push(chip);
    this.#draw();
    this.#name(chip);
    this.onChange();
    return chip;
  }

  /** Make a chip of what was typed, so that more can be typed. "- fruit" is less of it. */
  addWords() {
    const typed = this.words.value.trim();
    const isLess = /^[-−]\s+\S/.test(typed);
    const text = isLess ? typed.slice(1).trim() : typed;
    if (!text) return;
    this.words.value = "";
    this.chips.push({ text, weight: isLess ? -1 : 1 });
    this.#draw();
    this.#showAdd();
    announce(`${isLess ? "Less of " : ""}${text} is a term of its own now`);
    this.words.focus();
    if (this.value.some((term) => term.weight > 0)) this.onChange();
  }

  /** A chip for a file that is on its way; `settle` says what became of it. */
  expect(name) {
    const chip = { pending: true, weight: 1, name };
    this.chips.push(chip);
    this.#draw();
    return {
      arrived: (sent, label) => {
        // What the library has itself is asked for as such: its address stays good when the server forgets what was sent.
        const name = sent.item ? "item" : "upload";
        if (this.chips.some((one) => one[name] === sent[name])) { // dropped or pasted twice
          this.remove(chip, false);
          return;
        }
        Object.assign(chip, { pending: false, [name]: sent[name], name: label ?? sent.name, kind: sent.kind });
        known.set(sent[name], { name: chip.name, kind: chip.kind });
        this.#draw();
        this.onChange();
      },
      failed: () => this.remove(chip, false),
    };
  }

  remove(chip, ask = true) {
    const at = this.chips.indexOf(chip);
    if (at < 0) return;
    this.chips.splice(at, 1);
    this.#draw();
    announce(`${labelOf(chip)} removed`);
    (this.list.children[Math.min(at, this.chips.length - 1)]?.querySelector(".chip-remove") ?? this.words).focus();
    if (ask) this.onChange();
  }

  #showAdd() {
    byId("add-words").hidden = !this.words.value.trim();
  }

  #onKey(event) {
    if (event.key === "Enter" && event.shiftKey) {
      event.preventDefault();
      this.addWords();
    } else if (event.key === "Backspace" && !this.words.value && this.chips.length) {
      event.preventDefault();
      this.list.lastElementChild.querySelector(".chip-remove").focus();
    }
  }

  #onChipKey(event) {
    const chip = this.chips[[...this.list.children].indexOf(event.target.closest(".chip"))];
    if (!chip || chip.pending) return;
    const steps = { "+": 1, "-": -1 };
    if (event.key === "Delete" || event.key === "Backspace") {
      event.preventDefault();
      this.remove(chip);
    } else if (event.key in steps) {
      event.preventDefault();
      const at = WEIGHTS.indexOf(Math.abs(chip.weight));
      const size = WEIGHTS[Math.min(WEIGHTS.length - 1, Math.max(0, (at < 0 ? 3 : at) + steps[event.key]))];
      this.#change(chip, Math.sign(chip.weight) * size, ".chip-body");
    }
  }

  #change(chip, weight, focus) {
    if (chip.weight === weight) return;
    chip.weight = weight;
    this.#draw();
    this.list.children[this.chips.indexOf(chip)]?.querySelector(focus)?.focus();
    announce(`${labelOf(chip)}: ${weightWords(weight)}`);
    this.onChange();
  }

  #draw() {
    const focused = document.activeElement?.closest?.(".chip button");
    const place = focused && this.list.contains(focused) ? [[...this.list.children].indexOf(focused.closest(".chip")), focused.classList[0]] : null;
    this.list.replaceChildren(...this.chips.map((chip) => this.#chip(chip)));
    this.words.placeholder = this.chips.length ? "Add words" : "Describe it, or drop a file";
    if (place) this.list.children[place[0]]?.querySelector(`.${place[1]}`)?.focus();
  }

  #chip(chip) {
    const label = labelOf(chip);
    if (chip.pending) {
      return h("li", { class: "chip", "aria-busy": "true" }, h("span", { class: "chip-sign" }, icon("attach", "small-icon")),
        h("span", { class: "chip-body" }, h("span", { class: "name" }, label), h("span", { class: "chip-weight" }, "sending…")),
        h("button", { class: "chip-remove", type: "button", onclick: () => this.remove(chip, false) }, icon("close", "small-icon"), hidden(`Remove ${label}`)));
    }
    const isLess = chip.weight < 0;
    const size = Math.abs(chip.weight);
    const sign = h("button", {
      class: "chip-sign", type: "button", title: isLess ? "Less of this: change to more" : "More of this: change to less",
      "aria-pressed": String(isLess), onclick: () => this.#change(chip, -chip.weight, ".chip-sign"),
    }, icon(isLess ? "minus" : "plus", "small-icon"), hidden(`Less of ${label}`));
    const body = h("button", { class: "chip-body", type: "button", title: chip.lost ?? chip.text ?? label, "aria-label": `${label}, weight ${chip.weight}${chip.lost ? `. ${chip.lost}` : ""}` },
      this.#picture(chip), h("span", { class: "name" }, label),
      chip.lost ? h("span", { class: "chip-weight bad" }, "no longer kept") : null,
      size === 1 ? null : h("span", { class: "chip-weight" }, `×${size}`));
    const card = cardOf(body, `Weight of ${label}`, (opened) => this.#weightCard(opened, chip));
    return h("li", { class: `chip${isLess ? " is-less" : ""}${chip.lost ? " is-lost" : ""}` }, sign, body, card,
      h("button", { class: "chip-remove", type: "button", title: "Remove", onclick: () => this.remove(chip) }, icon("close", "small-icon"), hidden(`Remove ${label}`)));
  }

  #picture(chip) {
    if (chip.text) return null;
    const mark = icon(KINDS[chip.kind]?.icon ?? "attach", "small-icon");
    if (chip.lost || !["image", "video"].includes(chip.kind)) return mark;
    const source = chip.item ? api.thumbnail(chip.item, 128) : api.uploadThumbnail(chip.upload, 128);
    const image = h("img", { src: source, alt: "", width: 28, height: 28 });
    image.addEventListener("error", () => image.replaceWith(mark));
    return image;
  }

  #weightCard(card, chip) {
    const size = Math.abs(chip.weight);
    const nearest = WEIGHTS.reduce((best, one, at) => (Math.abs(one - size) < Math.abs(WEIGHTS[best] - size) ? at : best), 0);
    const said = h("output", {}, `×${size}`);
    const range = h("input", { type: "range", min: 0, max: WEIGHTS.length - 1, step: 1, value: nearest, "aria-label": "How much it counts", "aria-valuetext": `times ${size}` });
    range.addEventListener("input", () => {
      said.textContent = `×${WEIGHTS[range.value]}`;
      range.setAttribute("aria-valuetext", `times ${WEIGHTS[range.value]}`);
    });
    range.addEventListener("change", () => {
      chip.weight = Math.sign(chip.weight) * WEIGHTS[range.value];
      this.onChange();
    });
    const before = chip.weight;
    const onClosed = (event) => {
      if (event.newState !== "closed") return;
      card.removeEventListener("toggle", onClosed);
      if (chip.weight !== before) this.#draw();
    };
    card.addEventListener("toggle", onClosed);
    const choose = (weight) => () => {
      card.hidePopover();
      this.#change(chip, weight, ".chip-body");
    };
    card.append(h("h2", {}, labelOf(chip)), h("div", { class: "stack" },
      h("div", { class: "choices" },
        h("button", { class: "pill", type: "button", "aria-pressed": String(chip.weight > 0), onclick: choose(size) }, icon("plus"), "More of this"),
        h("button", { class: "pill", type: "button", "aria-pressed": String(chip.weight < 0), onclick: choose(-size) }, icon("minus"), "Less of this")),
      h("div", { class: "weight-row" }, range, said)));
  }

  async #name(chip) {
    const id = chip.item ?? chip.upload;
    if (!id || chip.name) return;
    if (!known.has(id)) {
      try {
        const facts = chip.item ? await api.item(id) : await api.uploadFacts(id);
        known.set(id, { name: facts.name, kind: facts.kind });
      } catch (failed) {
        if (failed.status === 404) {
          chip.lost = chip.item ? "This file is no longer in the library." : "This file was sent earlier and is no longer kept: add it again.";
        }
      }
    }
    Object.assign(chip, known.get(id) ?? {});
    if (this.chips.includes(chip)) this.#draw();
  }
}

const labelOf = (chip) => chip.text ?? chip.name ?? (chip.item ? "an item" : "a file");

const weightWords = (weight) => `${weight < 0 ? "less of it" : "more of it"}, times ${Math.abs(weight)}`;
