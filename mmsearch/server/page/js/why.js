// Why a result matches: the terms' shares, the words that carried it, and a heat map over the picture.
import { h } from "./dom.js";

// From "inferno" (CC0): even in lightness. What is cool stays clear.
const STOPS = [[0, 0, 0, 4], [0.25, 87, 16, 110], [0.5, 188, 55, 84], [0.75, 249, 142, 9], [1, 252, 255, 164]];

/** Show an explanation in the panel and over the stage; gives what takes it away again. */
export function showWhy(root, why, stage) {
  const heats = stage.picture ? why.maps.filter((map) => map.values.some((row) => row.some((value) => value > 0))) : [];
  const canvas = h("canvas", { class: "heat", "aria-hidden": "true" });
  if (heats.length) {
    if (heats[0].start !== null) stage.seek(heats[0].start, false);
    stage.media?.pause();
    stage.media?.addEventListener("play", () => canvas.remove(), { once: true }); // what comes next is another picture
    stage.picture.append(canvas);
    draw(canvas, heats[0], stage.picture);
  }
  const terms = why.terms.map((term) => h("div", { class: "why-term" },
    h("span", {}, term.asked), h("span", {}, `${term.share < 0 ? "−" : ""}${Math.round(Math.abs(term.share) * 100)} %`),
    h("span", { class: "why-bar" }, h("i", { class: term.part < 0 ? "is-less" : "", vars: { "--share": `${Math.abs(term.share) * 100}%` } }))));
  const choose = heats.length > 1 ? h("div", { class: "choices" }, heats.map((heat, at) => h("button", {
    class: "pill", type: "button", "aria-pressed": String(at === 0), onclick: (event) => {
      draw(canvas, heat, stage.picture);
      for (const pill of event.currentTarget.parentElement.children) pill.setAttribute("aria-pressed", String(pill === event.currentTarget));
    },
  }, heat.asked))) : null;
  root.replaceChildren(h("div", { class: "why" }, h("h3", {}, "Why"), terms, choose,
    heats.length ? h("p", { class: "note" }, `The bright parts of the picture speak for it (${heats[0].method}).`) : null,
    why.lines.map(lineOf), why.remarks.map((remark) => h("p", { class: "note" }, remark))));
  return () => canvas.remove();
}

/** A line with its words shaded by how much each does for it. */
function lineOf(line) {
  const most = Math.max(1e-6, ...line.words.map((word) => word.drop));
  const parts = [];
  let at = 0;
  for (const word of [...line.words].sort((one, other) => one.start - other.start)) {
    if (word.start < at) continue;
    parts.push(line.text.slice(at, word.start));
    const drop = Math.max(0, word.drop / most);
    parts.push(h("span", { dataset: { drop: drop.toFixed(2) }, vars: { "--drop": drop } }, line.text.slice(word.start, word.end)));
    at = word.end;
  }
  return h("p", { class: "why-line" }, ...parts, line.text.slice(at));
}

function draw(canvas, { values, box }, picture) {
  const { width, height } = picture.getBoundingClientRect();
  const small = h("canvas", { width: values[0].length, height: values.length });
  const pixels = new ImageData(small.width, small.height);
  values.flat().forEach((value, at) => pixels.data.set([...colour(value), Math.round(200 * value ** 0.8) + 30], at * 4));
  small.getContext("2d").putImageData(pixels, 0, 0);
  canvas.width = Math.round(width);
  canvas.height = Math.round(height);
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.imageSmoothingQuality = "high";
  const [left, top, right, bottom] = box;
  pen.drawImage(small, left * canvas.width, top * canvas.height, (right - left) * canvas.width, (bottom - top) * canvas.height);
}

function colour(value) {
  const upper = Math.max(1, STOPS.findIndex(([at]) => at >= value));
  const [from, to] = [STOPS[upper - 1], STOPS[upper]];
  const share = (value - from[0]) / (to[0] - from[0]);
  return [1, 2, 3].map((channel) => Math.round(from[channel] + share * (to[channel] - from[channel])));
}
