// Portraits to choose from, as a radio group: arrows move, space chooses.
// @ts-check
/** @typedef {{id: string, title: string, image: string}} Choice */

/** Events: "choose" with the portrait's id. */
export class Gallery extends EventTarget {
  /** @type {Choice[]} */ #choices = [];
  #chosen = "";
  /** @type {string | null} */ #busy = null;

  /** @param {HTMLElement} root */
  constructor(root) {
    super();
    this.root = root;
    root.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const at = this.#choices.findIndex((choice) => choice.id === this.#chosen);
      const next = this.#choices[(at + step + this.#choices.length) % this.#choices.length];
      if (next) { this.#pick(next.id); this.focus(); }
    });
  }

  /** @param {Choice[]} choices */
  show(choices) {
    if (JSON.stringify(choices) === JSON.stringify(this.#choices)) return;
    const focused = this.root.contains(document.activeElement);
    this.#choices = choices;
    this.root.replaceChildren(...choices.map((choice) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "face";
      button.setAttribute("role", "radio");
      button.setAttribute("aria-label", choice.title);
      button.title = choice.title;
      button.dataset.id = choice.id;
      const picture = document.createElement("img");
      picture.src = choice.image;
      picture.alt = "";
      button.append(picture);
      button.addEventListener("click", () => this.#pick(choice.id));
      return button;
    }));
    this.choose(this.#chosen, this.#busy !== null);
    if (focused) this.focus();
  }

  /** @param {string} id */
  #pick(id) {
    this.choose(id, true);
    this.dispatchEvent(new CustomEvent("choose", { detail: id }));
  }

  focus() {
    /** @type {HTMLElement | null} */ (this.root.querySelector("[tabindex='0']"))?.focus();
  }

  /** @param {string} id @param {boolean} [busy]  it is being prepared */
  choose(id, busy = false) {
    this.#chosen = id;
    this.#busy = busy ? id : null;
    const any = this.#choices.some((choice) => choice.id === id);
    [...this.root.children].forEach((child, index) => {
      const mine = /** @type {HTMLElement} */ (child).dataset.id === id;
      child.setAttribute("aria-checked", String(mine));
      child.setAttribute("aria-busy", String(mine && busy));
      child.setAttribute("tabindex", mine || (!any && index === 0) ? "0" : "-1");
    });
  }
}
