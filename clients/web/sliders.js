// Sliders for the engine's motion dictionary.
// @ts-check
/** @typedef {import("./types.js").Direction} Direction */

const GROUPS = { head: "Head", eyes: "Eyes", gaze: "Gaze", brows: "Brows", mouth: "Mouth", cheeks: "Cheeks", body: "Body", other: "More" };
const FIRST = 8;
/** The server's word on a slider waits so long after the user moved it: it may speak of a place before. */
const HELD_MS = 700;

/** @param {string} name */
export function title(name) {
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Events: "change" with {name, value}. */
export class Sliders extends EventTarget {
  /** @type {Map<string, {row: HTMLElement, input: HTMLInputElement, output: HTMLOutputElement, direction: Direction}>} */
  #rows = new Map();
  #key = "";
  /** @type {Map<string, ReturnType<typeof setTimeout>>} sliders that the user has moved just now */ #held = new Map();
  /** @type {Record<string, number>} the server's last word */ #told = {};
  /** The slider that a pointer drags. @type {HTMLInputElement | null} */ #dragged = null;
  #none = document.createElement("p");

  /** @param {HTMLElement} root @param {HTMLInputElement} find */
  constructor(root, find) {
    super();
    this.root = root;
    this.#none.className = "small-text";
    this.#none.setAttribute("role", "status");
    this.#none.hidden = true;
    root.before(this.#none);
    for (const over of ["pointerup", "pointercancel"]) addEventListener(over, () => {
      if (!this.#dragged) return;
      this.#dragged = null;
      this.set(this.#told);
    });
    find.addEventListener("input", () => this.#filter(find.value.trim().toLowerCase()));
  }

  /** @param {Direction[]} directions */
  build(directions) {
    const key = JSON.stringify(directions);
    if (key === this.#key) return;
    this.#key = key;
    this.#rows.clear();
    this.root.replaceChildren();
    const top = document.createElement("div");
    this.root.append(top);
    directions.slice(0, FIRST).forEach((direction) => top.append(this.#row(direction)));
    /** @type {Map<string, HTMLDetailsElement>} */
    const groups = new Map();
    for (const direction of directions.slice(FIRST)) {
      let box = groups.get(direction.group);
      if (!box) {
        box = document.createElement("details");
        const summary = document.createElement("summary");
        summary.textContent = GROUPS[/** @type {keyof GROUPS} */ (direction.group)] ?? title(direction.group);
        box.append(summary);
        groups.set(direction.group, box);
        this.root.append(box);
      }
      box.append(this.#row(direction));
    }
  }

  /** @param {Direction} direction */
  #row(direction) {
    const row = document.createElement("div");
    row.className = "slider";
    const label = document.createElement("label");
    const output = document.createElement("output");
    const input = document.createElement("input");
    input.type = "range";
    input.id = `direction-${direction.name}`;
    input.min = String(direction.lo);
    input.max = String(direction.hi);
    input.step = String((direction.hi - direction.lo) / 200);
    input.value = "0";
    label.htmlFor = input.id;
    label.textContent = title(direction.name);
    row.title = direction.about;
    output.htmlFor.add(input.id);
    input.addEventListener("pointerdown", () => { this.#dragged = input; });
    input.addEventListener("input", () => {
      // a pointer finds zero more easily than it should have to; a key says just what it means
      const near = this.#dragged === input ? (direction.hi - direction.lo) / 60 : Number(input.step) / 2;
      this.#moved(direction.name, Math.abs(input.valueAsNumber) < near ? 0 : input.valueAsNumber, false);
    });
    input.addEventListener("dblclick", () => this.#moved(direction.name, 0, true));
    row.append(label, output, input);
    this.#rows.set(direction.name, { row, input, output, direction });
    this.#show(direction.name, 0);
    return row;
  }

  /** The user moved a slider. @param {string} name @param {number} value @param {boolean} move */
  #moved(name, value, move) {
    clearTimeout(this.#held.get(name));
    this.#held.set(name, setTimeout(() => {
      this.#held.delete(name);
      if (this.#dragged !== this.#rows.get(name)?.input) this.#show(name, this.#told[name] ?? 0);
    }, HELD_MS));
    this.#show(name, value, move);
    this.dispatchEvent(new CustomEvent("change", { detail: { name, value } }));
  }

  /** @param {string} name @param {number} value @param {boolean} [move] */
  #show(name, value, move = true) {
    const entry = this.#rows.get(name);
    if (!entry) return;
    if (move) entry.input.value = String(value);
    const unit = entry.direction.unit === "deg" ? "°" : "";
    const text = `${value > 0 ? "+" : ""}${value.toFixed(unit ? 0 : 2)}${unit}`;
    entry.output.textContent = value === 0 ? "0" : text;
    entry.input.setAttribute("aria-valuetext", value === 0 ? "neutral" : text);
    entry.row.dataset.changed = value === 0 ? "no" : "yes";
  }

  /** @param {Record<string, number>} edits  the server's word */
  set(edits) {
    this.#told = edits;
    for (const [name, { input }] of this.#rows) {
      if (!this.#held.has(name) && this.#dragged !== input) this.#show(name, edits[name] ?? 0);
    }
  }

  /** All to rest. */
  reset() {
    for (const timer of this.#held.values()) clearTimeout(timer);
    this.#held.clear();
    this.set({});
  }

  /** @param {string} wanted */
  #filter(wanted) {
    for (const { row, direction } of this.#rows.values()) {
      row.hidden = wanted !== "" && !`${title(direction.name)} ${direction.about}`.toLowerCase().includes(wanted);
    }
    for (const box of this.root.querySelectorAll("details")) {
      const any = [...box.querySelectorAll(".slider")].some((row) => !(/** @type {HTMLElement} */ (row).hidden));
      box.hidden = !any;
      if (wanted !== "") box.open = any;
    }
    this.#none.hidden = [...this.#rows.values()].some(({ row }) => !row.hidden);
    this.#none.textContent = this.#none.hidden ? "" : `No slider matches “${wanted}”. Try mouth, brow or eye.`;
  }
}
