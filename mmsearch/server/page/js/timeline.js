// A file's time from left to right: how loud it is, where the answers are, and where it plays. A slider for the keyboard.
import { h } from "./dom.js";
import { CHANNELS, clock, length, matchWords, spokenSpan } from "./format.js";
import { drawWave } from "./wave.js";

const STEP = 5; // seconds that an arrow key moves

/** The timeline of a media element. `onMark(moment)` is called when a mark is chosen. */
export class Timeline {
  constructor(media, duration, onMark) {
    this.media = media;
    this.duration = duration;
    this.onMark = onMark;
    this.canvas = h("canvas", {});
    this.marks = h("div", { class: "marks" });
    this.head = h("div", { class: "head" });
    this.now = h("span", {});
    this.track = h("div", {
      class: "track", role: "slider", tabIndex: 0, "aria-label": "Position", "aria-valuemin": 0, "aria-valuemax": Math.round(duration),
    }, this.canvas, this.marks, this.head);
    this.element = h("div", { class: "timeline" }, this.track, h("div", { class: "times" }, this.now, h("span", {}, length(duration))));
    this.#listen();
    this.#show();
  }

  /** Where the answers are; `best` is the one that was opened. */
  mark(moments, best) {
    const timed = moments.filter((one) => one.start !== null);
    this.marks.replaceChildren(...[...timed].reverse().map((one) => h("div", {
      class: `mark${one === best ? " is-best" : ""}`,
      title: `${spokenSpan(one)}, ${CHANNELS[one.channel] ?? ""}, ${matchWords(one).words.toLowerCase()}`,
      vars: {
        "--from": `${(one.start / this.duration) * 100}%`,
        "--long": `${(((one.end ?? one.start) - one.start) / this.duration) * 100}%`,
        "--strength": one.confidence ?? Math.max(0, one.score),
      },
    })));
    this.timed = timed;
    this.best = best;
    this.drawn?.();
  }

  /** How loud it is: what the server's waveform says. */
  wave(found) {
    this.drawn = () => drawWave(this.canvas, found, this.best ? [this.best] : []);
    this.drawn();
  }

  #listen() {
    const { media, track } = this;
    for (const name of ["timeupdate", "seeking", "loadedmetadata"]) media.addEventListener(name, () => this.#show());
    const smooth = () => {
      this.#show();
      if (!media.paused && media.isConnected) requestAnimationFrame(smooth);
    };
    media.addEventListener("play", smooth);
    const seek = (event) => {
      const { left, width } = track.getBoundingClientRect();
      media.currentTime = Math.max(0, Math.min(1, (event.clientX - left) / width)) * this.duration;
    };
    track.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      const { left, width } = track.getBoundingClientRect();
      const time = ((event.clientX - left) / width) * this.duration;
      const onto = this.timed?.find((one) => time >= one.start && time <= (one.end ?? one.start));
      if (onto && event.target.classList.contains("mark")) {
        this.onMark(onto);
        return;
      }
      track.setPointerCapture(event.pointerId);
      seek(event);
    });
    track.addEventListener("pointermove", (event) => track.hasPointerCapture(event.pointerId) && seek(event));
    track.addEventListener("keydown", (event) => {
      const steps = { ArrowRight: STEP, ArrowLeft: -STEP, ArrowUp: STEP, ArrowDown: -STEP, PageUp: 30, PageDown: -30, Home: -Infinity, End: Infinity };
      if (!(event.key in steps)) return;
      event.preventDefault();
      event.stopPropagation(); // not to another result
      media.currentTime = Math.max(0, Math.min(this.duration, media.currentTime + steps[event.key]));
    });
  }

  #show() {
    const { currentTime } = this.media;
    this.head.style.setProperty("--at", `${Math.min(100, (currentTime / this.duration) * 100)}%`);
    const text = clock(currentTime);
    if (this.now.textContent !== text) {
      this.now.textContent = text;
      this.track.setAttribute("aria-valuenow", Math.round(currentTime));
      this.track.setAttribute("aria-valuetext", `${text} of ${clock(this.duration)}`);
    }
  }
}
