// The other views of the portrait that is chosen (turned left or right, smiling): small pictures that can be removed.
// @ts-check
import { get } from "./elements.js";

/** @typedef {{key: string, image: string}} Thumb */

const root = get("views", HTMLElement);
const word = get("views-word", HTMLElement);
const list = get("views-list", HTMLElement);
const add = get("add-view", HTMLButtonElement);
const adding = get("views-add", HTMLElement);

/** Events: "remove" with a view's key. */
export class ViewsRow extends EventTarget {
  #shown = "";

  /**
   * @param {Thumb[] | null} views  null: no portrait of the user's is chosen
   * @param {number} most  a portrait may have, 0 where the engine takes one picture
   * @param {Set<string>} busy  keys of those that are on their way to the server
   */
  show(views, most, busy) {
    const now = JSON.stringify([views, most, [...busy]]);
    if (now === this.#shown) return;
    this.#shown = now;
    root.hidden = !views || (most === 0 && views.length === 0);
    list.hidden = !views?.length;
    adding.hidden = most === 0 || (views?.length ?? 0) >= most;
    word.textContent = most === 0 ? "The engine of this server takes one picture of a person: these are not used here."
      : "Turned left or right, smiling: the head is shown from the one that comes nearest.";
    const at = [...list.children].findIndex((child) => child.contains(document.activeElement));
    list.replaceChildren(...(views ?? []).map(({ key, image }, index) => this.#thumb(key, image, index, busy.has(key))));
    if (at >= 0) /** @type {HTMLElement} */ (list.children[Math.min(at, list.children.length - 1)]?.querySelector("button") ?? add).focus();
  }

  /** @param {string} key @param {string} image @param {number} index @param {boolean} busy */
  #thumb(key, image, index, busy) {
    const [item, frame, picture, remove] = [document.createElement("li"), document.createElement("span"), document.createElement("img"), document.createElement("button")];
    frame.className = "face";
    frame.setAttribute("aria-busy", String(busy));
    picture.src = image;
    picture.alt = `View ${index + 1}`;
    frame.append(picture);
    remove.type = "button";
    remove.className = "button";
    remove.textContent = "×";
    remove.title = "Remove this view";
    remove.setAttribute("aria-label", `Remove view ${index + 1}`);
    remove.setAttribute("aria-disabled", String(busy)); // not disabled, which would lose the focus
    remove.addEventListener("click", () => { if (!busy) this.dispatchEvent(new CustomEvent("remove", { detail: key })); });
    item.append(frame, remove);
    return item;
  }
}
