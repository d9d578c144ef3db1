// What stands beside the stage: how well it matches, what can be done with it, its moments, its lines, its facts.
import * as api from "./api.js";
import { announce, h, hidden, icon, toast } from "./dom.js";
import { meter } from "./cell.js";
import { CHANNELS, CHANNEL_ICONS, bytes, clock, count, date, folderOf, length, matchWords, span } from "./format.js";
import { linesOf } from "./stage.js";
import { trimmed } from "./state.js";
import { showWhy } from "./why.js";

const LEAST = 0.25; // confidence of a moment that is worth a look

export class Panel {
  constructor(root, item, hit, { request, status, stage, hooks, signal }) {
    Object.assign(this, { root, item, hit, request, stage, hooks, signal, abilities: status?.abilities ?? {} });
    this.moment = hit.channel ? hit : null;
    stage.onMoment = (moment) => this.choose(moment);
    this.matchBox = h("div", { class: "match" });
    this.momentsBox = h("section", { "aria-label": "Moments", hidden: true });
    this.whyBox = h("section", { "aria-label": "Why", hidden: true });
    root.replaceChildren(...[
      hit.channel ? this.matchBox : null, this.#actions(), this.whyBox, this.momentsBox, this.#transcript(), this.#facts(),
    ].filter(Boolean));
    if (hit.channel) {
      this.#showMatch();
      this.#showMoments([hit, ...hit.moments]);
    }
    if (request && hit.channel && (item.duration || item.lines.length > 1)) this.#askMoments();
    else this.#light();
  }

  /** Look at another moment of the same file. */
  choose(moment) {
    this.moment = moment;
    this.#showMatch();
    this.#showMoments(this.moments);
    this.#light();
  }

  #showMatch() {
    const { score } = this.moment;
    const how = score === null ? "Found by its words, which the model cannot read" : `Cosine similarity ${score.toFixed(3)}`;
    const match = matchWords(this.hit); // of the file as a whole; a moment of it is held to another scale
    const when = this.moment.start === null ? "" : `, ${span(this.moment)}`;
    this.matchBox.replaceChildren(...[meter(match) ?? h("span", {}), h("strong", {}, `${match.words} · ${match.number}`),
      h("p", { class: "note" }, `${CHANNELS[this.moment.channel].replace(/^./, (letter) => letter.toUpperCase())}${when}. ${how}.`)].filter(Boolean));
  }

  #actions() {
    const { item, hooks } = this;
    const act = (iconName, label, onclick, props = {}) => h("button", { class: "button icon-only", type: "button", title: label, onclick, ...props }, icon(iconName), hidden(label));
    const parts = [h("button", { class: "button is-main", type: "button", onclick: () => hooks.onSimilar(item) }, icon("similar"), "More like this")];
    if (this.abilities.explain && this.request && this.hit.channel) {
      this.whyButton = h("button", { class: "button", type: "button", "aria-pressed": "false", onclick: () => this.#why() }, icon("why"), "Why");
      parts.push(this.whyButton);
    }
    parts.push(act("copy", "Copy the path", () => this.#copy()));
    const pair = (...both) => h("span", { class: "pair" }, both); // never on two lines
    if (this.request) {
      parts.push(pair(act("plus", "Add to the search", () => hooks.onAdd(item, 1)), act("minus", "Less like this", () => hooks.onAdd(item, -1))));
      if (this.abilities.feedback && this.hit.channel) {
        this.thumbs = { true: act("thumb-up", "A good result", () => this.#judge(true), { "aria-pressed": "false" }), false: act("thumb-down", "A wrong result", () => this.#judge(false), { "aria-pressed": "false" }) };
        parts.push(pair(this.thumbs.true, this.thumbs.false));
      }
    }
    if (this.abilities.reveal) parts.push(act("reveal", "Show in its folder", () => this.#reveal()));
    parts.push(h("a", { class: "button icon-only", href: api.media(item.item), target: "_blank", rel: "noopener", title: "Open the file" }, icon("open"), hidden("Open the file")));
    parts.push(h("a", { class: "button icon-only", href: api.download(item.item), title: "Save the file" }, icon("download"), hidden("Save the file")));
    return h("div", { class: "side-actions" }, parts);
  }

  async #judge(good) {
    const said = this.said === good ? null : good;
    try {
      await api.feedback({ query: trimmed(this.request), item: this.item.item, start: this.hit.start, end: this.hit.end, good: said });
    } catch (failed) {
      toast(failed.message);
      return;
    }
    this.said = said;
    for (const [name, button] of Object.entries(this.thumbs)) button.setAttribute("aria-pressed", String(String(said) === name));
    toast(said === null ? "Taken back" : said ? "Kept as a good result" : "Kept as a wrong result");
  }

  async #copy() {
    const text = this.item.path;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // no secure context, or not allowed: as it was done before
      const area = h("textarea", { value: text, class: "hidden" });
      this.root.append(area);
      area.select();
      const isDone = document.execCommand("copy");
      area.remove();
      if (!isDone) {
        toast(text);
        return;
      }
    }
    toast("Path copied");
  }

  async #reveal() {
    try {
      await api.reveal(this.item.item);
      toast("Shown in the file manager");
    } catch (failed) {
      toast([failed.message, failed.hint].filter(Boolean).join("; ").replace(/^./, (letter) => letter.toUpperCase()));
    }
  }

  async #why() {
    const isOn = this.whyButton.getAttribute("aria-pressed") === "true";
    this.whyButton.setAttribute("aria-pressed", String(!isOn));
    this.stopWhy?.();
    this.stopWhy = null;
    this.whyBox.hidden = isOn;
    if (isOn) return;
    this.whyBox.replaceChildren(h("p", { class: "note" }, "Looking into it…"));
    try {
      const why = await api.explain(this.item.item, trimmed(this.request), this.signal);
      this.stopWhy = showWhy(this.whyBox, why, this.stage);
      announce("Why it matches is shown");
    } catch (failed) {
      if (failed.name !== "AbortError") this.whyBox.replaceChildren(h("p", { class: "note bad" }, failed.message));
    }
  }

  async #askMoments() {
    try {
      const { moments } = await api.moments(this.item.item, trimmed(this.request), this.signal);
      if (this.signal.aborted || !moments.length) return;
      // The one that was opened stays the one that is shown, whatever the ranking within the file says.
      const same = moments.find((one) => one.channel === this.moment.channel && one.start === this.moment.start);
      if (same) this.moment = same;
      this.#showMoments([this.moment, ...moments.filter((one) => one !== same)]);
    } catch {
      // those of the hit are there
    }
    this.#light();
  }

  #showMoments(moments) {
    this.moments = moments.filter((one) => one === this.moment || (one.confidence ?? 1) >= LEAST);
    const timed = this.moments.filter((one) => one.start !== null);
    this.momentsBox.hidden = !timed.length;
    const had = this.momentsBox.contains(document.activeElement);
    this.momentsBox.replaceChildren(h("h3", {}, "Moments"), h("div", { class: "moment-list" }, timed.map((one) => {
      const match = matchWords(one);
      return h("button", {
        class: `moment${one === this.moment ? " is-best" : ""}`, type: "button", "aria-pressed": String(one === this.moment),
        onclick: () => {
          this.stage.seek(one.start);
          this.choose(one);
        },
      }, icon(CHANNEL_ICONS[one.channel]), h("span", {}, span(one)), h("span", { class: "said" }, one.text ?? ""), meter(match) ?? h("span", {}), hidden(`, ${CHANNELS[one.channel]}, ${match.words.toLowerCase()}`));
    })));
    if (had) this.momentsBox.querySelector("[aria-pressed=true]")?.focus(); // the buttons are new
    this.stage.timeline?.mark(this.moments, this.moment);
  }

  #transcript() {
    const lines = this.item.lines.filter((line) => line.start !== null);
    if (this.item.kind === "text" || !lines.length) return null;
    this.lines = lines.map((line) => ({
      line,
      button: h("button", { class: "line", type: "button", onclick: () => this.stage.seek(line.start) }, h("time", {}, clock(line.start)), h("span", {}, line.text)),
    }));
    this.transcript = h("div", { class: "transcript", role: "group", "aria-label": "What is said" }, this.lines.map(({ button }) => button));
    this.stage.media?.addEventListener("timeupdate", () => this.#follow());
    return h("section", {}, h("h3", {}, "What is said"), this.transcript,
      this.item.lines_left_out ? h("p", { class: "note" }, `${count(this.item.lines_left_out)} further lines are left out.`) : null);
  }

  #light() {
    this.stage.light(this.moment);
    let first = null;
    const lit = linesOf((this.lines ?? []).map(({ line }) => line), this.moment);
    for (const [at, { button }] of (this.lines ?? []).entries()) {
      const isLit = lit.has(at);
      button.classList.toggle("is-lit", isLit);
      if (isLit) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
      if (isLit) first ??= button;
    }
    if (first) this.transcript.scrollTop = first.offsetTop - this.transcript.offsetTop - 48;
  }

  #follow() {
    const { currentTime, paused } = this.stage.media;
    for (const { line, button } of this.lines) {
      const isNow = !paused && currentTime >= line.start && currentTime < (line.end ?? line.start + 3);
      if (isNow === button.classList.contains("is-now")) continue;
      button.classList.toggle("is-now", isNow);
      if (isNow) {
        const top = button.offsetTop - this.transcript.offsetTop;
        const { scrollTop, clientHeight } = this.transcript;
        if (top < scrollTop || top > scrollTop + clientHeight - 60) this.transcript.scrollTop = top - 48;
      }
    }
  }

  #facts() {
    const { item } = this;
    const place = item.latitude === null || item.longitude === null ? null : `${item.latitude.toFixed(4)}, ${item.longitude.toFixed(4)}`;
    const rows = [
      ["Title", item.title],
      ["Folder", folderOf(item.path)],
      ["Format", item.label],
      ["Size", item.width ? `${item.width} × ${item.height}, ${bytes(item.bytes)}` : bytes(item.bytes)],
      ["Length", item.duration === null ? null : length(item.duration)],
      ["Taken", item.captured_at ? date(item.captured_at) : null],
      ["Changed", date(item.modified_at)],
      ["Place", place && h("span", {}, place, " ", h("button", { class: "button", type: "button", onclick: () => this.hooks.onNear(`${item.latitude.toFixed(5)},${item.longitude.toFixed(5)},5km`) }, icon("pin"), "Near here"))],
      ["Copies", item.copies.length ? item.copies.join("\n") : null],
      ["Alike", this.hit.duplicates?.length ? this.hit.duplicates.join("\n") : null],
    ];
    return h("section", {}, h("h3", {}, "About the file"), h("dl", { class: "facts" },
      rows.filter(([, value]) => value !== null && value !== undefined && value !== "").flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])));
  }
}
