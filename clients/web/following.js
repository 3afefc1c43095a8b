// How the avatar follows its driver: how far, how calmly, where its eyes look; and how large the driver sees himself.
// @ts-check
import { get } from "./elements.js";
import { title } from "./sliders.js";
import { PARTS, storage } from "./wishes.js";

/** @typedef {import("./types.js").State} State */
/** @typedef {import("./types.js").Command} Command */

const PLACE = "avatar.large-self";
const HELD_MS = 700;
const gaze = get("hold-gaze", HTMLInputElement);
const large = get("large-self", HTMLInputElement);
const stage = get("stage", HTMLElement);

export class Following {
  /** @type {Map<string, {input: HTMLInputElement, output: HTMLOutputElement, usual: number}>} */ #rows = new Map();
  /** When each slider was moved here last: the server's word may be older. @type {Map<string, number>} */ #moved = new Map();

  /** @param {import("./wishes.js").Wishes} wishes @param {(command: Command) => void} send */
  constructor(wishes, send) {
    const root = get("following", HTMLElement);
    for (const part of PARTS) {
      root.append(this.#row(part, `${title(part)} ${part.endsWith("s") ? "move" : "moves"}`, 2, 1, (value) => {
        wishes.set({ amplitude: { ...wishes.amplitude, [part]: value } });
        send({ type: "amplitude", values: { [part]: value } });
      }));
    }
    root.append(this.#row("smoothing", "Calmness", 1, 0, (value) => {
      wishes.set({ smoothing: value });
      send({ type: "smoothing", amount: value });
    }));
    gaze.addEventListener("change", () => {
      wishes.set({ hold_gaze: gaze.checked });
      send({ type: "hold_gaze", on: gaze.checked });
    });
    large.checked = storage()?.getItem(PLACE) === "yes";
    const place = () => {
      stage.classList.toggle("beside", large.checked && !get("self", HTMLElement).hidden);
    };
    large.addEventListener("change", () => {
      try { storage()?.setItem(PLACE, large.checked ? "yes" : "no"); } catch { /* full */ }
      place();
    });
    new MutationObserver(place).observe(get("self", HTMLElement), { attributes: true, attributeFilter: ["hidden"] });
  }

  /** @param {string} name @param {string} text @param {number} most @param {number} usual @param {(value: number) => void} change */
  #row(name, text, most, usual, change) {
    const row = document.createElement("div");
    row.className = "slider";
    const [label, output, input] = [document.createElement("label"), document.createElement("output"), document.createElement("input")];
    Object.assign(input, { type: "range", id: `following-${name}`, min: "0", max: String(most), step: "0.05", value: String(usual) });
    label.htmlFor = input.id;
    label.textContent = text;
    output.htmlFor.add(input.id);
    input.addEventListener("input", () => {
      this.#moved.set(name, performance.now());
      this.#say(name, input.valueAsNumber);
      change(input.valueAsNumber);
    });
    input.addEventListener("dblclick", () => { input.value = String(usual); input.dispatchEvent(new Event("input")); });
    row.append(label, output, input);
    this.#rows.set(name, { input, output, usual });
    this.#say(name, usual);
    return row;
  }

  /** @param {string} name @param {number} value */
  #say(name, value) {
    const row = this.#rows.get(name);
    if (!row) return;
    const text = value === row.usual ? (row.usual === 0 ? "0" : "as you do") : `${Math.round(100 * value)} %`;
    row.output.textContent = text;
    row.input.setAttribute("aria-valuetext", text);
    /** @type {HTMLElement} */ (row.input.parentElement ?? row.input).dataset.changed = value === row.usual ? "no" : "yes";
  }

  /** @param {State} state  the server's word */
  show(state) {
    gaze.checked = state.hold_gaze;
    for (const [name, { input, usual }] of this.#rows) {
      if (performance.now() - (this.#moved.get(name) ?? -HELD_MS) < HELD_MS) continue;
      const value = name === "smoothing" ? state.smoothing : (state.amplitude[name] ?? usual);
      input.value = String(value);
      this.#say(name, value);
    }
  }
}
