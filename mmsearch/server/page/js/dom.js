// Making elements. Nothing is ever made from a string of HTML, so no file's name can become markup.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element. Of `props`, functions named on… listen; `class`, `dataset` and `vars` (custom properties) are set as such;
 * what the element knows as a property is set as one; the rest are attributes. Null and undefined are left out.
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name === "dataset") Object.assign(element.dataset, value);
    else if (name === "vars") for (const [key, one] of Object.entries(value)) element.style.setProperty(key, one);
    else if (name in element && !name.startsWith("aria")) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** An icon of the sprite. It says nothing to a screen reader: what it stands on has a name. */
export function icon(name, className = "") {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", `icon ${className}`.trim());
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `icons.svg#${name}`);
  svg.append(use);
  return svg;
}

/** Another icon in the place of the one that an element has. */
export function setIcon(element, name) {
  element.querySelector("use").setAttribute("href", `icons.svg#${name}`);
}

export const byId = (id) => document.getElementById(id);

/** Text for nobody but the eyes' stand-ins. */
export const hidden = (text) => h("span", { class: "hidden" }, text);

let lastSaid = "";

/** Have a screen reader say something. */
export function announce(text) {
  const region = byId("announce");
  region.textContent = text === lastSaid ? `${text}\u00a0` : text; // what does not change is not read again
  lastSaid = region.textContent;
}

/** Show a short message for a while. Above an open dialog, it is put into it: nothing else is reachable then. */
export function toast(text) {
  const element = h("p", { class: "toast" }, text);
  const region = byId("toasts");
  const dialog = document.querySelector("dialog[open]");
  (dialog ?? document.body).append(region);
  region.append(element);
  setTimeout(() => element.remove(), 4500);
}

/** Whether somebody asked the system for less that moves. */
export const wantsStillness = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

let cards = 0;

/**
 * A card that a button opens; the caller puts it beside the button. `fill` is given the card each time it opens.
 * It is a popover: the browser closes it with Esc and by a click elsewhere, one at a time is open, and the button has the
 * focus again afterwards.
 */
export function cardOf(button, label, fill) {
  const card = h("div", { class: "card", id: `card-${++cards}`, role: "dialog", "aria-label": label, popover: "auto" });
  button.popoverTargetElement = card;
  button.setAttribute("aria-haspopup", "dialog");
  card.addEventListener("beforetoggle", (event) => {
    if (event.newState !== "open") return;
    card.replaceChildren();
    fill(card);
    place(card, button);
  });
  card.addEventListener("toggle", (event) => {
    if (event.newState === "open") {
      if (!card.contains(document.activeElement)) card.querySelector("input, button, select")?.focus({ preventScroll: true });
    } else card.replaceChildren();
  });
  return card;
}

function place(card, button) {
  const box = button.getBoundingClientRect();
  const width = Math.min(340, innerWidth - 32);
  card.style.setProperty("--left", `${Math.max(16, Math.min(box.left, innerWidth - width - 16))}px`);
  card.style.setProperty("--top", `${box.bottom + 8}px`);
}
