// The other views of the portrait that is chosen (turned left or right, smiling): small pictures that can be removed.
// @ts-check
import { get } from "./elements.js";

/** @typedef {{key: string, image: string, lacking: string}} Thumb  lacking: why the server does not have it, "" where it does */

const root = get("views", HTMLElement);
const word = get("views-word", HTMLElement);
const list = get("views-list", HTMLElement);
const add = get("add-view", HTMLButtonElement);
const adding = get("views-add", HTMLElement);

/** Events: "remove" with a view's key; "left" where the focus was in the row, which has nothing to focus any more. */
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
    const held = root.contains(document.activeElement);
    const at = [...list.children].findIndex((child) => child.contains(document.activeElement));
    root.hidden = !views || (most === 0 && views.length === 0);
    list.hidden = !views?.length;
    adding.hidden = most === 0 || (views?.length ?? 0) >= most;
    word.textContent = most === 0 ? "The engine of this server takes one picture of a person: these are not used here."
      : "Turned left or right, smiling: the head is shown from the one that comes nearest.";
    list.replaceChildren(...(views ?? []).map((view, index) => this.#thumb(view, index, busy.has(view.key))));
    if (!held) return;
    const near = list.children[Math.min(at < 0 ? Infinity : at, list.children.length - 1)]?.querySelector("button");
    if (root.hidden) this.dispatchEvent(new Event("left"));
    else if (at >= 0 || adding.hidden) (near ?? add).focus();
  }

  /** @param {Thumb} view @param {number} index @param {boolean} busy */
  #thumb({ key, image, lacking }, index, busy) {
    const [item, frame, picture, remove] = [document.createElement("li"), document.createElement("span"), document.createElement("img"), document.createElement("button")];
    frame.className = "face";
    frame.setAttribute("aria-busy", String(busy));
    picture.src = image;
    picture.alt = `View ${index + 1}`;
    if (lacking) {
      frame.dataset.lacking = "yes";
      frame.title = `Not on the server: ${lacking}`;
      picture.alt += `. ${frame.title}`;
    }
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
