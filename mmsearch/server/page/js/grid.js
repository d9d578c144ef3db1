// A grid of any number of cells, of which only those near the window exist.
//
// Rows have one height, known before anything is loaded, so nothing jumps and a place in the list is arithmetic.
// The cells are links with one tab stop between them (roving tabindex); arrows move among them.

const CAPTION = 60;
const GAP = 16;
const ROW_GAP = 20;
const OVERSCAN = 600; // pixels above and below the window

export class Grid {
  /** `make(item, index, size)` gives a link for one item; `size` is {width, height} of its picture. */
  constructor(root, make, { onNearEnd = () => {} } = {}) {
    this.root = root;
    this.make = make;
    this.onNearEnd = onNearEnd;
    this.items = [];
    this.rows = new Map(); // row number -> element
    this.current = 0;
    this.width = 0;
    root.setAttribute("role", "grid");
    root.addEventListener("keydown", (event) => this.#onKey(event));
    root.addEventListener("focusin", (event) => this.#onFocus(event));
    // In the next frame: what changes a size while sizes are looked at is an error to browsers.
    new ResizeObserver(() => requestAnimationFrame(() => this.#measure())).observe(root);
    let isAsked = false;
    const soon = () => {
      if (isAsked) return;
      isAsked = true;
      requestAnimationFrame(() => {
        isAsked = false;
        this.#fill();
      });
    };
    addEventListener("scroll", soon, { passive: true });
    addEventListener("resize", soon, { passive: true });
  }

  /** Show a list. With `keep`, it is the old one with more behind it, and the focus stays where it is. `isAlike`: cells look as before. */
  show(items, label, { keep = false, isAlike = true } = {}) {
    const before = this.items;
    this.items = items;
    this.root.setAttribute("aria-label", label);
    if (keep && isAlike && this.width && this.width === this.root.clientWidth) {
      this.#keep(before);
      return;
    }
    if (!keep) {
      this.current = 0;
      this.#empty();
    }
    this.width = 0;
    this.#measure();
  }

  /** Rows that say what they said stay: somebody may be about to click in one. */
  #keep(before) {
    const had = this.root.contains(document.activeElement);
    for (const [number, row] of this.rows) {
      const [begin, end] = [number * this.columns, (number + 1) * this.columns];
      if (JSON.stringify(before.slice(begin, end)) === JSON.stringify(this.items.slice(begin, end))) continue;
      this.#drop(row);
      this.rows.delete(number);
    }
    this.#extend();
    this.#fill();
    if (had && !this.root.contains(document.activeElement)) this.#link(this.current)?.focus({ preventScroll: true });
  }

  /** Focus an item, wherever it is. */
  focus(index) {
    if (!this.items.length) return;
    this.current = Math.max(0, Math.min(this.items.length - 1, index));
    const row = Math.floor(this.current / this.columns);
    const top = this.root.getBoundingClientRect().top + row * this.rowHeight;
    const head = document.querySelector(".top").getBoundingClientRect().bottom + 12;
    if (top < head) scrollBy(0, top - head);
    else if (top + this.rowHeight > innerHeight) scrollBy(0, top + this.rowHeight - innerHeight + 12);
    this.#fill();
    this.#settle();
    this.#link(this.current)?.focus({ preventScroll: true });
  }

  #link(index) {
    return this.rows.get(Math.floor(index / this.columns))?.children[index % this.columns]?.firstElementChild ?? null;
  }

  #measure() {
    const width = this.root.clientWidth;
    if (!width || width === this.width) return;
    this.width = width;
    const isSmall = width < 560;
    this.gap = isSmall ? 12 : GAP;
    const least = isSmall ? 150 : width < 1000 ? 200 : 232;
    this.columns = Math.max(isSmall ? 2 : 3, Math.floor((width + this.gap) / (least + this.gap)));
    const cell = (width - this.gap * (this.columns - 1)) / this.columns;
    this.size = { width: Math.round(cell), height: Math.round(cell * 0.75) };
    this.rowHeight = this.size.height + CAPTION + ROW_GAP;
    for (const [name, value] of Object.entries({ "--columns": this.columns, "--gap": `${this.gap}px`, "--thumb": `${this.size.height}px` })) {
      this.root.style.setProperty(name, value);
    }
    this.#extend();
    this.root.setAttribute("aria-colcount", this.columns);
    const had = this.root.contains(document.activeElement);
    this.#empty();
    this.#fill();
    if (had) this.#link(this.current)?.focus({ preventScroll: true });
  }

  /** Make room for all rows. */
  #extend() {
    const rows = Math.ceil(this.items.length / this.columns);
    this.root.style.height = `${Math.max(0, rows * this.rowHeight - ROW_GAP)}px`;
    this.root.setAttribute("aria-rowcount", rows);
  }

  #empty() {
    for (const row of this.rows.values()) this.#drop(row);
    this.rows.clear();
  }

  #drop(row) {
    for (const link of row.querySelectorAll(".cell")) link.dispatchEvent(new Event("gone"));
    row.remove();
  }

  #fill() {
    if (!this.items.length || !this.rowHeight) return;
    const rows = Math.ceil(this.items.length / this.columns);
    const top = this.root.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor((-top - OVERSCAN) / this.rowHeight));
    const last = Math.min(rows - 1, Math.floor((innerHeight - top + OVERSCAN) / this.rowHeight));
    const held = Math.floor(this.current / this.columns); // what has the tab stop always exists
    for (const [number, row] of this.rows) {
      if ((number < first || number > last) && number !== held) {
        this.#drop(row);
        this.rows.delete(number);
      }
    }
    for (let number = first; number <= last; number++) this.#row(number);
    if (held < rows) this.#row(held);
    if (last >= rows - 4) this.onNearEnd();
  }

  #row(number) {
    if (this.rows.has(number)) return;
    const row = document.createElement("div");
    row.className = "row";
    row.setAttribute("role", "row");
    row.setAttribute("aria-rowindex", number + 1);
    row.style.transform = `translateY(${number * this.rowHeight}px)`;
    const begin = number * this.columns;
    this.items.slice(begin, begin + this.columns).forEach((item, column) => {
      const index = begin + column;
      const slot = document.createElement("div");
      slot.className = "slot";
      slot.setAttribute("role", "gridcell");
      slot.setAttribute("aria-colindex", column + 1);
      const link = this.make(item, index, this.size);
      link.dataset.index = index;
      link.tabIndex = index === this.current ? 0 : -1;
      slot.append(link);
      row.append(slot);
    });
    // In the order of their numbers, which is the order that they are read in.
    const after = [...this.rows.keys()].filter((other) => other < number);
    const before = after.length ? this.rows.get(Math.max(...after)).nextSibling : this.root.firstChild;
    this.root.insertBefore(row, before);
    this.rows.set(number, row);
  }

  #settle() {
    for (const link of this.root.querySelectorAll(".cell")) link.tabIndex = Number(link.dataset.index) === this.current ? 0 : -1;
  }

  #onFocus(event) {
    const link = event.target.closest(".cell");
    if (!link) return;
    this.current = Number(link.dataset.index);
    this.#settle();
  }

  #onKey(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) {
      if (!(event.ctrlKey && ["Home", "End"].includes(event.key))) return;
    }
    const page = Math.max(1, Math.floor(innerHeight / this.rowHeight) - 1) * this.columns;
    const inRow = this.current % this.columns;
    const steps = {
      ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.columns, ArrowUp: -this.columns, PageDown: page, PageUp: -page,
      Home: event.ctrlKey ? -Infinity : -inRow, End: event.ctrlKey ? Infinity : this.columns - 1 - inRow,
    };
    if (!(event.key in steps)) return;
    event.preventDefault();
    if (event.key === "ArrowUp" && this.current < this.columns) {
      this.root.dispatchEvent(new Event("leave"));
      return;
    }
    const target = this.current + steps[event.key];
    const lastRow = Math.floor((this.items.length - 1) / this.columns);
    if (event.key === "ArrowDown" && target >= this.items.length && Math.floor(this.current / this.columns) === lastRow) return;
    this.focus(target);
  }
}
