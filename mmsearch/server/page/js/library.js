// How the library stands: its folders, what is at work, what failed and why, the model, the size.
import * as api from "./api.js";
import { announce, byId, h, icon, toast } from "./dom.js";
import { KINDS, bytes, clock, count, longTime, plural } from "./format.js";

const AT_WORK = ["running", "cancelling"];

export class LibraryView {
  /** `onChanged` is called when there may be other files than before; `onJob` with every state of an indexing run. */
  constructor({ onChanged, onJob }) {
    this.root = byId("library");
    this.hooks = { onChanged, onJob };
    this.status = null;
    this.job = null;
    this.troublesShown = 100;
    this.shown = false;
    this.stop = null;
    this.drawn = null; // the status that the view was last made of
    this.entered = { path: "", retry: false, prune: false };
  }

  set isShown(isShown) {
    this.shown = isShown;
    if (isShown && this.status) this.#draw();
    this.#listen();
  }

  get isShown() {
    return this.shown;
  }

  /** What the server says of itself. */
  take(status) {
    this.status = status;
    this.#take(status.job);
    if (this.shown) this.#draw();
    this.#listen();
  }

  async refresh() {
    try {
      this.take(await api.status(this.troublesShown));
    } catch (failed) {
      toast(failed.message);
    }
  }

  /** Events are listened to only while somebody looks, or something is at work. */
  #listen() {
    const isWanted = this.shown || AT_WORK.includes(this.job?.state);
    if (isWanted && !this.stop) {
      this.stop = api.onJob((job) => this.#take(job));
    } else if (!isWanted && this.stop) {
      this.stop();
      this.stop = null;
    }
  }

  #take(job) {
    const before = this.job;
    this.job = job;
    this.hooks.onJob(job);
    const hasEnded = before && AT_WORK.includes(before.state) && !AT_WORK.includes(job.state);
    if (this.shown && this.jobBox) this.#drawJob();
    if (!hasEnded) return;
    announce(jobTitle(job));
    this.hooks.onChanged();
    this.#listen();
  }

  #draw() {
    const { status } = this;
    const told = JSON.stringify({ ...status, job: null });
    if (told === this.drawn) { // what is being clicked is not made anew for nothing
      this.#drawJob();
      return;
    }
    this.drawn = told;
    const refocus = focusIn(this.root);
    const files = Object.values(status.kinds).reduce((sum, number) => sum + number, 0);
    this.jobBox = h("section", { class: "panel", "aria-label": "Indexing" });
    this.root.replaceChildren(
      h("header", {}, h("h2", {}, "Library"), h("p", { class: "note" }, status.library)),
      h("section", { "aria-label": "Contents" }, h("dl", { class: "numbers" }, [
        ...Object.entries(KINDS).filter(([kind]) => status.kinds[kind]).map(([kind, names]) => [names.many, count(status.kinds[kind])]),
        status.hours ? ["Duration", longTime(status.hours)] : null,
        ["On disk", bytes(status.database_bytes + status.index_bytes)],
      ].filter(Boolean).map(([name, value]) => h("div", { class: "number" }, h("dt", {}, name), h("dd", {}, value)))),
      h("p", { class: "model-line" }, h("span", {}, `Model: ${status.model ?? "none yet"}`), h("span", {}, `${count(Object.values(status.segments).reduce((sum, n) => sum + n, 0))} vectors of ${plural(files, "file")}`), h("span", {}, `mmsearch ${status.version}`))),
      this.jobBox, this.#roots(), this.#troubles());
    this.#drawJob();
    refocus();
  }

  #drawJob() {
    const { job, status, jobBox } = this;
    const isOn = AT_WORK.includes(job.state);
    if (isOn && jobBox.dataset.job === String(job.job) && jobBox.dataset.state === job.state) {
      this.#drawProgress();
      return;
    }
    const told = JSON.stringify(job);
    if (!isOn && jobBox.dataset.told === told) return;
    jobBox.dataset.told = told;
    const refocus = focusIn(jobBox);
    jobBox.dataset.job = job.job;
    jobBox.dataset.state = job.state;
    const title = h("h3", { class: "grow" }, isOn ? (job.state === "running" ? "Indexing" : "Ending…") : jobTitle(job));
    if (isOn) {
      this.bar = h("div", { class: "bar", role: "progressbar", "aria-label": "Files" }, h("i"));
      this.line = h("p", { class: "note" });
      jobBox.replaceChildren(h("div", { class: "panel-row" }, title, h("button", {
        class: "button", type: "button", dataset: { name: "cancel" }, disabled: job.state !== "running", onclick: () => api.cancelIndex().catch((failed) => toast(failed.message)),
      }, icon("stop"), "Cancel")), this.bar, this.line);
      this.#drawProgress();
    } else {
      const { entered } = this; // outlives the fields: they are made anew whenever the status changes
      const check = (name) => h("input", { type: "checkbox", dataset: { name }, checked: entered[name], onchange: (event) => { entered[name] = event.target.checked; } });
      const [retry, prune] = [check("retry"), check("prune")];
      const start = (wanted) => this.#start({ ...wanted, retry_failed: entered.retry, prune: entered.prune });
      this.start = start;
      const paths = h("input", { class: "plain-input grow", type: "text", placeholder: "/home/me/Pictures", "aria-label": "A new folder", dataset: { name: "path" }, value: entered.path, oninput: () => { entered.path = paths.value; } });
      jobBox.replaceChildren(...[
        h("div", { class: "panel-row" }, title, status.roots.length ? h("button", { class: "button is-main", type: "button", dataset: { name: "start" }, onclick: () => start({}) }, icon("refresh"), "Update all") : null),
        reportOf(job),
        h("div", { class: "panel-row" }, h("label", { class: "check" }, retry, "Try what failed again"), h("label", { class: "check" }, prune, "Forget files that are not there now")),
        status.abilities.index_paths ? h("form", { class: "panel-row", onsubmit: (event) => {
          event.preventDefault();
          if (paths.value.trim()) start({ paths: [paths.value.trim()] });
        } }, paths, h("button", { class: "button", type: "submit" }, icon("plus"), "Add the folder")) : null,
        !status.abilities.index_paths && !status.roots.length ? h("p", { class: "note" }, "Nothing was indexed yet. Name a folder on the command line: mmsearch index FOLDER. Or start the server with --allow-index, to do it here.") : null,
      ].filter(Boolean));
    }
    refocus();
  }

  #drawProgress() {
    const { job, bar, line } = this;
    const progress = job.progress ?? { found: 0, done: 0, failed: 0, unchanged: 0, scanning: true };
    const share = progress.found ? Math.min(1, progress.done / progress.found) : 0;
    const isEndless = progress.scanning && !progress.done;
    bar.classList.toggle("is-endless", isEndless);
    bar.style.setProperty("--done", `${share * 100}%`);
    if (isEndless) bar.removeAttribute("aria-valuenow");
    else bar.setAttribute("aria-valuenow", Math.round(share * 100));
    line.textContent = [
      `${count(progress.done)} of ${count(progress.found)}${progress.scanning ? " or more" : ""} files`,
      progress.unchanged ? `${count(progress.unchanged)} unchanged` : "", progress.failed ? `${count(progress.failed)} failed` : "", job.seconds === null ? "" : clock(job.seconds),
    ].filter(Boolean).join(" · ");
  }

  async #start(wanted) {
    try {
      const begun = await api.startIndex(wanted);
      if (begun.job !== this.job.job) this.#take(begun); // its events may have been faster, and tell more
      if (wanted.paths) this.entered.path = "";
      announce("Indexing has begun");
      this.#listen();
    } catch (failed) {
      toast([failed.message, failed.hint].filter(Boolean).join("; "));
    }
  }

  #roots() {
    const { roots } = this.status;
    if (!roots.length) return "";
    return h("section", {}, h("h3", {}, "Folders"), h("ul", { class: "roots" }, roots.map((root) => h("li", {}, icon("folder"),
      h("div", { class: "path" }, h("strong", {}, root.path), h("span", { class: "note" }, plural(root.files, "file")), root.reachable ? null : h("span", { class: "tag" }, "not there now")),
      h("button", { class: "button", type: "button", dataset: { name: `root-${root.root}` }, onclick: () => (this.start ?? ((wanted) => this.#start(wanted)))({ roots: [root.root] }), "aria-label": `Update ${root.path}` }, "Update")))));
  }

  #troubles() {
    const { status } = this;
    if (!status.troubles_in_all) return "";
    const more = status.troubles_in_all - status.troubles.length;
    return h("section", {}, h("h3", {}, `Files that could not be used, or only in part: ${count(status.troubles_in_all)}`),
      h("ul", { class: "troubles" }, status.troubles.map((one) => h("li", {}, h("strong", {}, one.path),
        h("span", { class: one.state === "failed" ? "tag" : "tag is-mild" }, one.state === "failed" ? "failed" : "in part"), h("p", { class: "note" }, one.reason)))),
      more > 0 ? h("button", { class: "button", type: "button", dataset: { name: "troubles" }, onclick: () => {
        this.troublesShown = 10_000;
        this.refresh();
      } }, `Show ${count(Math.min(more, 9900))} more`) : null);
  }
}

/** Where the focus is inside an element that is about to be made anew; gives what puts it back, caret and all. */
function focusIn(box) {
  const focused = document.activeElement;
  if (!box.contains(focused)) return () => {};
  const caret = focused.selectionStart ?? null;
  return () => {
    const again = box.querySelector(`[data-name="${focused.dataset.name}"]`) ?? box.querySelector("button");
    again?.focus();
    if (caret !== null && again?.type === "text") again.setSelectionRange(caret, caret);
  };
}

function jobTitle(job) {
  return { idle: "Indexing", done: "Up to date", cancelled: "Cancelled: what was done is kept", failed: "Indexing failed" }[job.state] ?? "Indexing";
}

function reportOf(job) {
  if (job.error) return h("p", { class: "bad" }, [job.error.message, job.error.hint].filter(Boolean).join("; "));
  const { report } = job;
  if (!report) return h("p", { class: "note" }, "New and changed files are found when the folders are looked through again.");
  const parts = [["added", "new"], ["changed", "changed"], ["moved", "moved"], ["unchanged", "unchanged"], ["failed", "failed"], ["missing", "not there now"], ["pruned", "forgotten"]]
    .filter(([name]) => report[name] || name === "added").map(([name, words]) => `${count(report[name])} ${words}`);
  return h("p", { class: "note" }, `${parts.join(", ")}; ${clock(report.seconds)}.${report.unreachable.length ? ` Not there now: ${report.unreachable.join(", ")}.` : ""}`);
}
