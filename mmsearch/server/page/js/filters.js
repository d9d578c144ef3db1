// What may answer: kinds, folders, dates, lengths, places, names.
import { cardOf, h, icon } from "./dom.js";
import { KINDS, clock, count, date, folderOf, readClock } from "./format.js";
import { filtersOf } from "./state.js";

const DAY = 24 * 3600 * 1000;
const RADII = [1, 5, 20, 100, 500];

/** The row of filters. `values` is what of a request is not its terms; `onChange` is called when it has changed. */
export class Filters {
  constructor(root, onChange) {
    this.root = root;
    this.onChange = onChange;
    this.values = filtersOf({});
    this.facets = null;
    this.isStale = false; // whether the row says something else than the values
    root.addEventListener("keydown", (event) => this.#onKey(event));
  }

  set(request) {
    this.values = filtersOf(request);
    this.draw();
  }

  get isSet() {
    return labels(this.values).length > 0;
  }

  clear() {
    this.#change({ kinds: [], within: [], after: null, before: null, min_seconds: null, max_seconds: null, near: null, name: null, confident: false });
  }

  draw() {
    if (!this.facets) return;
    this.isStale = false;
    const focused = this.root.contains(document.activeElement) ? document.activeElement.dataset.name : null;
    const { values, facets } = this;
    const kinds = Object.keys(KINDS).filter((kind) => facets.kinds[kind] || values.kinds.includes(kind));
    const parts = [
      ...(kinds.length > 1 ? kinds.map((kind) => this.#kind(kind)) : []),
      kinds.length > 1 ? h("span", { class: "filter-gap" }) : null,
      facets.folders.length > 1 || values.within.length ? this.#button("folder", "Folder", folderWords(values), (card) => this.#folders(card)) : null,
      this.#button("calendar", "Date", dateWords(values), (card) => this.#dates(card)),
      facets.kinds.audio || facets.kinds.video || lengthWords(values) ? this.#button("clock", "Length", lengthWords(values), (card) => this.#lengths(card)) : null,
      facets.with_place || values.near ? this.#button("pin", "Place", placeWords(values), (card) => this.#places(card)) : null,
      this.#button("sliders", "More", moreWords(values), (card) => this.#more(card)),
      this.isSet ? h("button", { class: "pill", type: "button", dataset: { name: "clear" }, onclick: () => this.clear() }, icon("close"), "Clear") : null,
    ];
    this.root.replaceChildren(...parts.flat().filter(Boolean));
    const stops = [...this.root.querySelectorAll(".pill")].filter((pill) => !pill.closest(".card"));
    const current = stops.find((pill) => pill.dataset.name === focused) ?? stops[0];
    for (const pill of stops) pill.tabIndex = pill === current ? 0 : -1;
    if (focused) current?.focus();
  }

  #change(changes) {
    Object.assign(this.values, changes);
    this.draw();
    this.onChange();
  }

  #onKey(event) {
    if (event.target.closest(".card")) return;
    const steps = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity };
    if (!(event.key in steps)) return;
    const stops = [...this.root.querySelectorAll(".pill")].filter((pill) => !pill.closest(".card"));
    const at = Math.min(stops.length - 1, Math.max(0, stops.indexOf(event.target) + steps[event.key]));
    event.preventDefault();
    for (const pill of stops) pill.tabIndex = pill === stops[at] ? 0 : -1;
    stops[at].focus();
  }

  #kind(kind) {
    const isOn = this.values.kinds.includes(kind);
    const toggle = () => this.#change({ kinds: isOn ? this.values.kinds.filter((one) => one !== kind) : [...this.values.kinds, kind] });
    return h("button", { class: "pill", type: "button", dataset: { name: kind }, "aria-pressed": String(isOn), onclick: toggle },
      icon(KINDS[kind].icon), KINDS[kind].many, h("span", { class: "count" }, count(this.facets.kinds[kind] ?? 0)));
  }

  #button(iconName, label, words, fill) {
    const button = h("button", { class: `pill${words ? " is-set" : ""}`, type: "button", dataset: { name: label } },
      icon(iconName), words ? h("span", {}, h("span", { class: "hidden" }, `${label}: `), words) : label, icon("down", "down"));
    return [button, cardOf(button, label, fill)];
  }

  #folders(card) {
    const { facets, values } = this;
    const list = h("div", { class: "folder-list" });
    const top = Math.min(...facets.folders.map((folder) => folder.depth));
    const known = new Set(facets.folders.map((folder) => folder.path));
    const lost = values.within.filter((path) => !known.has(path)).map((path) => ({ path, name: path, depth: top, files: 0 }));
    const rows = [...lost, ...facets.folders].map((folder) => {
      const box = h("input", { type: "checkbox", checked: values.within.includes(folder.path) });
      box.addEventListener("change", () => {
        values.within = box.checked ? [...values.within, folder.path] : values.within.filter((path) => path !== folder.path);
        this.onChange();
      });
      return { folder, row: h("label", { title: folder.path, vars: { "--depth": folder.depth - top } }, box, h("span", {}, folder.name), h("span", { class: "count" }, count(folder.files))) };
    });
    list.append(...rows.map(({ row }) => row));
    card.append(h("h2", {}, "In these folders"));
    if (rows.length > 12) {
      const narrow = h("input", { class: "plain-input", type: "search", placeholder: "Find a folder", "aria-label": "Find a folder" });
      narrow.addEventListener("input", () => {
        for (const { folder, row } of rows) row.hidden = !folder.path.toLowerCase().includes(narrow.value.trim().toLowerCase());
      });
      card.append(narrow);
    }
    card.append(list);
    this.#drawWhenClosed(card);
  }

  #dates(card) {
    const { values, facets } = this;
    const years = Object.keys(facets.years).sort().reverse();
    const pick = (year) => () => {
      card.hidePopover();
      const isOn = yearOf(values) === year;
      this.#change(isOn ? { after: null, before: null } : { after: year, before: String(Number(year) + 1) });
    };
    const from = h("input", { type: "date", value: dayOf(values.after) });
    const until = h("input", { type: "date", value: values.before ? dayBefore(values.before) : "" });
    from.addEventListener("change", () => this.#quietly({ after: from.value || null }));
    until.addEventListener("change", () => this.#quietly({ before: until.value ? dayAfter(until.value) : null }));
    card.append(h("h2", {}, "Taken"), h("div", { class: "stack" },
      years.length ? h("div", { class: "choices" }, years.slice(0, 24).map((year) => h("button", {
        class: "pill", type: "button", "aria-pressed": String(yearOf(values) === year), onclick: pick(year),
      }, year, h("span", { class: "count" }, count(facets.years[year]))))) : null,
      h("div", { class: "card-row" }, h("label", { class: "field" }, "From", from), h("label", { class: "field" }, "To", until))));
    this.#drawWhenClosed(card);
  }

  #lengths(card) {
    const { values, facets } = this;
    const isOn = (one) => values.min_seconds === (one.min_seconds || null) && values.max_seconds === one.max_seconds;
    const pick = (one) => () => {
      card.hidePopover();
      this.#change(isOn(one) ? { min_seconds: null, max_seconds: null } : { min_seconds: one.min_seconds || null, max_seconds: one.max_seconds });
    };
    const field = (name, label) => {
      const input = h("input", { type: "text", inputMode: "numeric", placeholder: "1:30", value: values[name] === null ? "" : clock(values[name]) });
      input.addEventListener("change", () => {
        const seconds = input.value.trim() ? readClock(input.value) : null;
        const isBad = input.value.trim() !== "" && seconds === null;
        input.setCustomValidity(isBad ? "Seconds, or minutes and seconds: 90, 1:30" : "");
        if (isBad) input.reportValidity();
        else this.#quietly({ [name]: seconds });
      });
      return h("label", { class: "field" }, label, input);
    };
    const presets = facets.lengths.filter((one) => one.files);
    card.append(h("h2", {}, "Lasts"), h("div", { class: "stack" },
      h("div", { class: "choices" }, presets.map((one) => h("button", { class: "pill", type: "button", "aria-pressed": String(isOn(one)), onclick: pick(one) },
        lengthWords(one), h("span", { class: "count" }, count(one.files))))),
      h("div", { class: "card-row" }, field("min_seconds", "At least"), field("max_seconds", "At most"))));
    this.#drawWhenClosed(card);
  }

  #places(card) {
    const [latitude = "", longitude = "", radius = "5km"] = (this.values.near ?? "").split(",").map((part) => part.trim());
    const where = h("input", { type: "text", placeholder: "48.86, 2.35", value: latitude ? `${latitude}, ${longitude}` : "" });
    const sizes = RADII.includes(Number.parseFloat(radius)) && radius.endsWith("km") ? RADII : [radius, ...RADII];
    const within = h("select", {}, sizes.map((size) => h("option", { value: Number(size) ? `${size}km` : size, selected: radius === (Number(size) ? `${size}km` : size) }, Number(size) ? `${size} km` : size)));
    const take = () => {
      const numbers = where.value.split(/[\s,;]+/).filter(Boolean).map(Number);
      const isGood = numbers.length === 2 && Math.abs(numbers[0]) <= 90 && Math.abs(numbers[1]) <= 180;
      where.setCustomValidity(!where.value.trim() || isGood ? "" : "Latitude and longitude in degrees: 48.86, 2.35");
      if (!where.value.trim()) this.#quietly({ near: null });
      else if (isGood) this.#quietly({ near: `${numbers[0]},${numbers[1]},${within.value}` });
      else where.reportValidity();
    };
    where.addEventListener("change", take);
    within.addEventListener("change", take);
    card.append(h("h2", {}, "Taken near"), h("div", { class: "stack" },
      h("div", { class: "card-row" }, h("label", { class: "field" }, "Latitude, longitude", where), h("label", { class: "field" }, "Within", within)),
      h("p", { class: "note" }, `${count(this.facets.with_place)} files say where they were taken.`)));
    this.#drawWhenClosed(card);
  }

  #more(card) {
    const { values } = this;
    const check = (name, label, about) => {
      const box = h("input", { type: "checkbox", checked: values[name] });
      box.addEventListener("change", () => this.#quietly({ [name]: box.checked }));
      return h("label", { class: "check" }, box, h("span", {}, label, h("small", {}, about)));
    };
    const name = h("input", { type: "text", placeholder: "*.mp4", value: values.name ?? "" });
    name.addEventListener("change", () => this.#quietly({ name: name.value.trim() || null }));
    card.append(h("h2", {}, "More"), h("div", { class: "stack" },
      h("label", { class: "field" }, "File name", name),
      check("confident", "Only real matches", "Leave out what is only near."),
      check("moments", "Each moment by itself", "One video may be there several times.")));
    this.#drawWhenClosed(card);
  }

  /** Change while a card is open: its own fields stay as they are. */
  #quietly(changes) {
    Object.assign(this.values, changes);
    this.onChange();
  }

  #drawWhenClosed(card) {
    const before = JSON.stringify(this.values);
    const onClosed = (event) => {
      if (event.newState !== "closed") return;
      card.removeEventListener("toggle", onClosed);
      if (JSON.stringify(this.values) !== before) this.isStale = true;
      // A click on another button closes this card and opens that one's, which must not go with the row.
      if (this.isStale && card.isConnected && !this.root.querySelector(".card:popover-open")) this.draw();
    };
    card.addEventListener("toggle", onClosed);
  }
}

/** What is filtered by, in words. */
export function labels(values) {
  return [
    values.kinds.map((kind) => KINDS[kind].many.toLowerCase()).join(" and "),
    folderWords(values), dateWords(values), lengthWords(values), placeWords(values), moreWords({ ...values, moments: false }),
  ].filter(Boolean);
}

function folderWords({ within }) {
  if (!within.length) return "";
  const name = within[0].slice(folderOf(within[0]).length + 1) || within[0];
  return within.length === 1 ? name : `${name} and ${within.length - 1} more`;
}

function dateWords({ after, before }) {
  const year = yearOf({ after, before });
  if (year) return year;
  if (after && before) return `${date(dayOf(after))} – ${date(dayBefore(before))}`;
  if (after) return `from ${date(dayOf(after))}`;
  return before ? `to ${date(dayBefore(before))}` : "";
}

/** The year that two dates enclose; null for what is not just one. */
function yearOf({ after, before }) {
  if (!after || !before) return null;
  const year = after.slice(0, 4);
  return dayOf(after) === `${year}-01-01` && dayOf(before) === `${Number(year) + 1}-01-01` ? year : null;
}

function lengthWords({ min_seconds: least, max_seconds: most }) {
  if (least && most !== null) return `${clock(least)} – ${clock(most)}`;
  if (least) return `over ${clock(least)}`;
  return most === null || most === undefined ? "" : `under ${clock(most)}`;
}

function placeWords({ near }) {
  if (!near) return "";
  const [latitude, longitude, radius] = near.split(",").map((part) => part.trim());
  return `${radius} around ${Number(latitude).toFixed(2)}, ${Number(longitude).toFixed(2)}`;
}

function moreWords({ name, confident, moments }) {
  return [name, confident ? "real matches" : "", moments ? "by moment" : ""].filter(Boolean).join(", ");
}

// The first day of what a date means: 2024, 2024-06, 2024-06-01, with or without a time.
const dayOf = (text) => (text ? `${text.slice(0, 10)}-01-01`.slice(0, 10) : "");
const shifted = (day, days) => new Date(new Date(dayOf(day)).valueOf() + days * DAY).toISOString().slice(0, 10);
const dayBefore = (day) => shifted(day, -1);
const dayAfter = (day) => shifted(day, 1);
