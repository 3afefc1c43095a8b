// A board of expressions: put on by button or key for as long as it is held, or until pressed again.
// @ts-check
import { get } from "./elements.js";
import { title } from "./sliders.js";
import { rove } from "./toolbar.js";

/** @typedef {import("./types.js").Expression} Expression */

/** Who only taps a key sees something all the same. */
const LEAST_MS = 500;
const card = get("board-card", HTMLElement);
const root = get("board", HTMLElement);
const stay = get("board-stay", HTMLInputElement);

export class Board {
  /** @type {Expression[]} */ #all = [];
  /** When each one that is on was put on. @type {Map<string, number>} */ #on = new Map();
  /** Held by a key or a pointer now. @type {Map<string, string>} */ #held = new Map();

  /** @param {(name: string, how: {on?: boolean, seconds?: number}) => void} send */
  constructor(send) {
    this.send = send;
    addEventListener("keydown", (event) => {
      const expression = this.#of(event);
      if (!expression || event.repeat) return;
      this.#press(`key ${event.code}`, expression.name);
    });
    addEventListener("keyup", (event) => this.#release(`key ${event.code}`));
    for (const over of ["pointerup", "pointercancel"]) addEventListener(over, () => this.#release("pointer"));
    addEventListener("blur", () => { for (const by of [...this.#held.keys()]) this.#release(by); });
    stay.addEventListener("change", () => { if (!stay.checked) for (const name of [...this.#on.keys()]) this.#set(name, false); });
    rove(root);
  }

  /** @param {Expression[]} all */
  build(all) {
    this.#on.clear();
    this.#held.clear();
    card.hidden = all.length === 0;
    this.#all = all;
    root.replaceChildren(...all.map(({ name, about }, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "button small";
      button.dataset.name = name;
      button.title = about;
      button.setAttribute("aria-pressed", "false");
      const key = document.createElement("kbd");
      key.textContent = String(index + 1);
      key.setAttribute("aria-hidden", "true");
      button.setAttribute("aria-keyshortcuts", String(index + 1));
      button.append(title(name), key);
      button.addEventListener("pointerdown", (event) => { if (event.button === 0) this.#press("pointer", name); });
      button.addEventListener("click", (event) => { // by Enter, Space, or a screen reader: no pointer was there
        if (event.detail !== 0) return;
        if (stay.checked) this.#set(name, !this.#on.has(name));
        else this.send(name, {});
      });
      return button;
    }));
  }

  /** @param {KeyboardEvent} event @returns {Expression | undefined} */
  #of(event) {
    const at = /** @type {HTMLElement} */ (event.target);
    const writes = at.closest?.("input[type='text'], input[type='search'], input[type='number'], select, textarea, dialog");
    if (writes || event.ctrlKey || event.metaKey || event.altKey || !/^[1-9]$/.test(event.key)) return undefined;
    return this.#all[Number(event.key) - 1];
  }

  /** @param {string} by @param {string} name */
  #press(by, name) {
    if (stay.checked) { this.#set(name, !this.#on.has(name)); return; }
    this.#held.set(by, name);
    this.#set(name, true);
  }

  /** @param {string} by */
  #release(by) {
    const name = this.#held.get(by);
    if (name === undefined) return;
    this.#held.delete(by);
    const since = performance.now() - (this.#on.get(name) ?? 0);
    setTimeout(() => { if (![...this.#held.values()].includes(name)) this.#set(name, false); }, Math.max(0, LEAST_MS - since));
  }

  /** @param {string} name @param {boolean} on */
  #set(name, on) {
    if (on === this.#on.has(name)) return;
    if (on) this.#on.set(name, performance.now()); else this.#on.delete(name);
    root.querySelector(`[data-name="${name}"]`)?.setAttribute("aria-pressed", String(on));
    this.send(name, { on });
  }
}
