// What the viewer shows large, one way for each kind of file.
import * as api from "./api.js";
import { h, hidden, icon, setIcon, wantsStillness } from "./dom.js";
import { marked } from "./cell.js";
import { clock, span } from "./format.js";
import { Timeline } from "./timeline.js";

/**
 * Fill the stage. Gives {media, timeline, picture, seek(seconds), toggle(), end(), light(moment)}; what a kind has not is
 * null or does nothing.
 */
export function makeStage(root, item, hit, options) {
  root.className = `stage is-${item.kind}`;
  const make = { image: imageStage, video: videoStage, audio: audioStage, text: textStage }[item.kind];
  return { media: null, timeline: null, picture: null, seek() {}, toggle() {}, end() {}, light() {}, ...make(root, item, hit, options) };
}

/** A box of a picture's own proportions: as large as fits, and known before the picture is there. */
function pictureBox(width, height, ...children) {
  const box = h("div", { class: "picture", vars: { "--ratio": `${width} / ${height}` } }, ...children);
  const fit = () => {
    const room = box.parentElement?.getBoundingClientRect();
    if (!room?.width) return;
    const most = Math.max(160, getComputedStyle(box.parentElement).maxHeight === "none" ? room.height : innerHeight * 0.62);
    box.style.setProperty("--fit-width", `${Math.min(room.width, (most * width) / height)}px`);
  };
  const watching = new ResizeObserver(() => requestAnimationFrame(fit));
  queueMicrotask(() => {
    if (box.parentElement) watching.observe(box.parentElement);
    fit();
  });
  return box;
}

function imageStage(root, item, hit, { signal }) {
  const [width, height] = [item.width ?? 4, item.height ?? 3];
  const image = h("img", { src: api.thumbnail(item.item, 1280), alt: item.title ?? item.name, width, height });
  const picture = pictureBox(width, height, image);
  root.replaceChildren(h("div", { class: "stage-media" }, picture));
  image.addEventListener("error", () => {
    if (signal.aborted) return;
    const said = h("p", { class: "no-play" }, "This picture cannot be shown now.");
    tellWhy(item, said);
    picture.append(said);
  }, { once: true });
  if (Math.max(width, height) > 1280 && item.browsers_play) {
    const whole = new Image();
    whole.addEventListener("load", () => !signal.aborted && (image.src = whole.src));
    whole.src = api.media(item.item);
    signal.addEventListener("abort", () => whole.removeAttribute("src"));
  }
  return { picture };
}

/** What playing has in common for video and sound. */
function player(media, item, timeline, at, signal) {
  let isPlayable = true;
  const seek = (seconds, andPlay = true) => {
    media.currentTime = seconds;
    if (andPlay && isPlayable) media.play().catch(() => {});
  };
  media.addEventListener("loadedmetadata", () => {
    media.currentTime = at;
    if (!wantsStillness() && navigator.userActivation?.hasBeenActive) media.play().catch(() => {}); // a click brought us here
  }, { once: true });
  media.addEventListener("error", () => { isPlayable = false; });
  media.src = api.media(item.item);
  api.waveform(item.item, { points: 400 }, signal).then((found) => found.peaks.length && timeline.wave(found), () => {});
  return {
    media, timeline, seek,
    toggle: () => (media.paused ? media.play().catch(() => {}) : media.pause()),
    end: () => {
      media.pause();
      media.removeAttribute("src");
      media.load();
    },
  };
}

function videoStage(root, item, hit, { at, signal }) {
  const video = h("video", { controls: true, playsInline: true, preload: "auto", poster: api.thumbnail(item.item, 1280, at), "aria-label": item.name });
  const picture = pictureBox(item.width ?? 16, item.height ?? 9, video);
  const duration = item.duration ?? 1;
  const timeline = new Timeline(video, duration, (moment) => {
    stage.seek(moment.start);
    stage.onMoment?.(moment);
  });
  root.replaceChildren(h("div", { class: "stage-media" }, picture), timeline.element);
  video.addEventListener("error", () => {
    if (signal.aborted) return;
    const still = h("img", { src: api.thumbnail(item.item, 1280, at), alt: `${item.name} at ${clock(at)}` });
    video.replaceWith(still);
    picture.append(cannotPlay(item, video, { class: "no-play" }));
    stage.seek = (seconds) => { still.src = api.thumbnail(item.item, 1280, seconds); };
  }, { once: true });
  const stage = { picture, ...player(video, item, timeline, at, signal) };
  return stage;
}

/** What the server says of a file that it does not give out, because it has changed or is not there, in the place of a guess. */
function tellWhy(item, said) {
  fetch(api.media(item.item), { headers: { Range: "bytes=0-0" } }).then(async (answer) => {
    if (!answer.ok) said.textContent = `${(await answer.json()).message.replace(/^./, (letter) => letter.toUpperCase())}. `;
  }).catch(() => {});
}

/** Why a medium does not play, and what to do. A format that the browser does not know fails before anything is known. */
function cannotPlay(item, media, props) {
  const why = media.readyState ? "The browser has stopped to play this; is there something to play sound on?" : `This browser does not play ${item.label}.`;
  const said = h("span", {}, `${why} `);
  tellWhy(item, said);
  return h("p", props, said, h("a", { href: api.download(item.item) }, "Save the file"), " to open it elsewhere.");
}

function audioStage(root, item, hit, { at, signal }) {
  const audio = h("audio", { preload: "auto" });
  const button = h("button", { class: "big-play", type: "button" }, icon("play"), hidden("Play"));
  const quote = h("p", { class: "quote", "aria-hidden": "true" });
  const duration = item.duration ?? 1;
  const timeline = new Timeline(audio, duration, (moment) => {
    stage.seek(moment.start);
    stage.onMoment?.(moment);
  });
  const show = () => {
    setIcon(button, audio.paused ? "play" : "pause");
    button.querySelector(".hidden").textContent = audio.paused ? "Play" : "Pause";
  };
  const lines = item.lines.filter((line) => line.start !== null);
  const say = () => {
    const line = lines.find((one) => audio.currentTime >= one.start && audio.currentTime < (one.end ?? one.start + 3));
    const text = line?.text ?? (audio.paused ? hit.text ?? "" : "");
    if (quote.textContent !== text) quote.textContent = text;
  };
  for (const name of ["play", "pause", "ended"]) audio.addEventListener(name, show);
  for (const name of ["timeupdate", "seeked"]) audio.addEventListener(name, say);
  root.replaceChildren(h("div", { class: "stage-media" }, h("div", { class: "listen" }, audio, quote, button)), timeline.element);
  audio.addEventListener("error", () => {
    if (signal.aborted) return;
    button.replaceWith(cannotPlay(item, audio, { class: "note" }));
  }, { once: true });
  const stage = { ...player(audio, item, timeline, at, signal) };
  button.addEventListener("click", () => stage.toggle());
  say();
  return stage;
}

function textStage(root, item, hit) {
  const pieces = item.lines.length ? item.lines : [{ start: null, end: null, text: "" }];
  const lines = pieces.map((line) => h("p", { class: "line" }, line.start === null ? null : h("span", { class: "note" }, `${span(line)}  `), ...marked(line.text, hit.matched ?? [])));
  const pages = h("div", { class: "pages", tabIndex: 0, role: "region", "aria-label": "Text" }, h("div", { class: "text" }, lines,
    item.lines_left_out ? h("p", { class: "note" }, "The rest is left out here: open the file to read on.") : null));
  root.replaceChildren(pages);
  const light = (moment) => {
    let lit = null;
    const found = linesOf(pieces, moment);
    pieces.forEach((_, at) => {
      const isIt = found.has(at);
      lines[at].classList.toggle("is-lit", isIt);
      if (isIt) lines[at].setAttribute("aria-current", "true");
      else lines[at].removeAttribute("aria-current");
      if (isIt && !lit) lit = lines[at];
    });
    if (lit) pages.scrollTop = lit.offsetTop - pages.offsetTop - pages.clientHeight / 4;
  };
  light(hit);
  return { light };
}

/**
 * The lines of an item that a moment found, or that are said in it: for the most part, or more than any other.
 * Gives the numbers of the lines.
 */
export function linesOf(lines, moment) {
  if (!moment) return new Set();
  const isTimed = moment.start !== null && moment.start !== undefined;
  const shares = lines.map((line) => {
    if (!line.text) return 0;
    if (!isTimed || line.start === null) return moment.text && line.text.trim() === moment.text.trim() ? 1 : 0;
    const [from, to] = [line.start, Math.max(line.end ?? 0, line.start + 0.01)];
    const overlap = Math.min(to, Math.max(moment.end ?? 0, moment.start + 0.01)) - Math.max(from, moment.start);
    return Math.max(0, overlap) / (to - from);
  });
  const most = Math.max(0, ...shares);
  return new Set(shares.flatMap((share, at) => (share > 0 && (share >= 0.5 || share === most) ? [at] : [])));
}
