// One result in the grid: a picture or what stands for it, what it is, and how well it matches.
import * as api from "./api.js";
import { h, hidden, icon, wantsStillness } from "./dom.js";
import { CHANNELS, KINDS, length, matchWords, plural, span, spokenSpan } from "./format.js";
import { DRAGGED_ITEM } from "./intake.js";
import { drawWave } from "./wave.js";

const PATIENCE = 80; // ms before a picture is asked for: what only flies by is not
const HOVER = 160; // ms before a moment plays
const LONG = 600; // seconds, from which on only what is around the moment is drawn of a sound

/** A link for a hit. `address` is where it leads; `isDimmed` says that nothing matches well. */
export function cell(hit, { index, size, address, isDimmed, onOpen }) {
  const match = matchWords(hit);
  const thumb = h("div", { class: "thumb", "aria-hidden": "true" });
  const link = h("a", {
    class: `cell${isDimmed || !hit.stands_out ? " is-weak" : ""}`, href: address, draggable: true,
  }, thumb, h("div", { class: "caption" },
    h("div", { class: "name", title: hit.path }, hit.name),
    h("div", { class: "meta" }, meter(match), h("span", {}, hit.gone ? "Not there now · " : "", ...shortly(match)), hidden(spoken(hit)))));
  fillThumb(thumb, hit, size, link);
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return; // in a tab of its own
    event.preventDefault();
    onOpen(index);
  });
  link.addEventListener("dragstart", (event) => {
    event.dataTransfer.setData(DRAGGED_ITEM, JSON.stringify({ id: hit.item, name: hit.name, kind: hit.kind }));
    event.dataTransfer.effectAllowed = "copy";
  });
  if (hit.kind === "video") playOnHover(link, thumb, hit);
  return link;
}

/** What is said or written there, as much as there is room for. */
function quote(hit, size) {
  const room = hit.kind === "audio" ? size.height * 0.64 - 18 : size.height - 14;
  const lines = Math.floor((room - 42) / 21);
  return lines < 1 ? "" : h("p", { class: "quote", vars: { "--quote-lines": lines } }, ...marked(hit.text, hit.matched));
}

/** "Strong match · 98 %"; where there is little room, "Strong · 98 %". */
function shortly({ words, number }) {
  const [first, rest] = words.split(/(?= match$)/);
  return [first, rest ? h("span", { class: "of-match" }, rest) : "", ` · ${number}`];
}

/** What the eyes see in the picture, for a screen reader: it is read behind the name and the match. */
function spoken(hit) {
  const when = hit.start === null ? "" : `, ${CHANNELS[hit.channel]} at ${spokenSpan(hit)}`;
  const further = hit.moments.length && hit.start !== null ? `, ${plural(hit.moments.length, "further moment")}` : "";
  return `, ${KINDS[hit.kind].one.toLowerCase()}${when}${further}`;
}

/** Three small bars. They repeat what is written beside them. */
export function meter({ level }) {
  return level === null ? null : h("span", { class: "meter", dataset: { level }, "aria-hidden": "true" }, h("i"), h("i"), h("i"));
}

function fillThumb(thumb, hit, size, link) {
  const { kind } = hit;
  const timers = [];
  const leaving = new AbortController();
  link.addEventListener("gone", () => {
    timers.forEach(clearTimeout);
    leaving.abort();
    thumb.querySelector("img")?.removeAttribute("src");
  });
  if (kind === "text" || kind === "audio") {
    if (kind === "audio") {
      const canvas = h("canvas", { class: "wave" });
      thumb.append(canvas);
      timers.push(setTimeout(() => wave(canvas, hit, leaving.signal), PATIENCE));
    }
    if (hit.text) thumb.append(quote(hit, size));
    else if (kind === "text") thumb.append(icon("text", "kind-mark"));
  } else {
    const image = h("img", { alt: "", decoding: "async", draggable: false, width: size.width, height: size.height });
    const side = size.width * 1.34 * Math.min(2, devicePixelRatio); // what is wide must still fill the height
    let tries = 0;
    const ask = () => { image.src = api.thumbnail(hit.item, side, hit.start ?? 0); };
    image.addEventListener("load", () => image.classList.add("is-there"));
    image.addEventListener("error", () => {
      if (!image.getAttribute("src")) return;
      if (tries++ < 1) timers.push(setTimeout(ask, 1500)); // a busy server has time later
      else image.replaceWith(icon(kind, "kind-mark"));
    });
    thumb.append(image);
    timers.push(setTimeout(ask, PATIENCE));
  }
  const when = span(hit) || (hit.duration ? length(hit.duration) : "");
  const further = hit.moments.length && hit.start !== null ? h("span", {}, `+${hit.moments.length}`) : null;
  thumb.append(h("span", { class: `badge${when ? "" : " is-bare"}`, title: KINDS[kind].one }, icon(kind), when || null, further));
}

async function wave(canvas, hit, signal) {
  const isLong = hit.duration > LONG && hit.start !== null;
  const from = isLong ? Math.max(0, hit.start - 60) : 0;
  const to = isLong ? Math.min(hit.duration, (hit.end ?? hit.start) + 60) : null;
  try {
    const found = await api.waveform(hit.item, { points: 96, start: from, end: to }, signal);
    drawWave(canvas, found, hit.start === null ? [] : [hit]);
  } catch {
    // a sound that cannot be read now has no picture
  }
}

/** A text with the words that were found in it marked. */
export function marked(text, words) {
  const found = words.filter((word) => word !== "name").map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  if (!found.length) return [text];
  const parts = text.split(new RegExp(`(?<![\\p{L}\\p{N}])(${found.join("|")})(?![\\p{L}\\p{N}])`, "iu"));
  return parts.map((part, at) => (at % 2 ? h("mark", {}, part) : part));
}

function playOnHover(link, thumb, hit) {
  if (hit.start === null && !hit.duration) return;
  let timer = null;
  let video = null;
  const from = hit.start ?? 0;
  const to = Math.max(from + 1, hit.end ?? from + 8);
  const begin = () => {
    if (video || timer || wantsStillness()) return;
    timer = setTimeout(() => {
      const film = (video = h("video", { muted: true, playsInline: true, preload: "auto", disableRemotePlayback: true, tabIndex: -1 }));
      const line = h("span", { class: "progress-line" });
      film.addEventListener("loadedmetadata", () => { film.currentTime = from; });
      film.addEventListener("timeupdate", () => {
        if (film.currentTime >= to) film.currentTime = from;
        line.style.setProperty("--done", Math.max(0, (film.currentTime - from) / (to - from)));
      });
      film.addEventListener("seeked", () => film === video && thumb.append(film, line), { once: true }); // not before it has its picture
      film.addEventListener("error", () => film === video && end());
      film.src = api.media(hit.item);
      film.play().catch(() => {});
    }, HOVER);
  };
  const end = () => {
    clearTimeout(timer);
    timer = null;
    if (!video) return;
    video.pause();
    video.removeAttribute("src");
    video.load(); // lets go of the connection
    video.remove();
    thumb.querySelector(".progress-line")?.remove();
    video = null;
  };
  link.addEventListener("pointerenter", (event) => event.pointerType !== "touch" && begin());
  link.addEventListener("pointerleave", () => document.activeElement !== link && end());
  link.addEventListener("focus", () => link.matches(":focus-visible") && begin());
  link.addEventListener("blur", end);
  link.addEventListener("click", end);
  link.addEventListener("gone", end);
}
