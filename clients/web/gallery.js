// Portraits to choose from, and bringing one's own.
// @ts-check
/** @typedef {import("./types.js").Portrait} Portrait */
import { ask } from "./connection.js";

/** Events: "choose" with the portrait's id. A radio group: arrows move, space chooses. */
export class Gallery extends EventTarget {
  /** @type {Portrait[]} */ #portraits = [];
  #chosen = "";

  /** @param {HTMLElement} root */
  constructor(root) {
    super();
    this.root = root;
    root.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const at = this.#portraits.findIndex((portrait) => portrait.id === this.#chosen);
      const next = this.#portraits[(at + step + this.#portraits.length) % this.#portraits.length];
      if (next) { this.#pick(next.id); this.#focus(); }
    });
  }

  /** @param {Portrait[]} portraits */
  show(portraits) {
    this.#portraits = portraits;
    this.root.replaceChildren(...portraits.map((portrait) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "face";
      button.setAttribute("role", "radio");
      button.setAttribute("aria-label", portrait.title);
      button.dataset.id = portrait.id;
      const picture = document.createElement("img");
      picture.src = portrait.image;
      picture.alt = "";
      button.append(picture);
      button.addEventListener("click", () => this.#pick(portrait.id));
      return button;
    }));
    this.choose(this.#chosen);
  }

  /** @param {string} id */
  #pick(id) {
    this.choose(id);
    this.dispatchEvent(new CustomEvent("choose", { detail: id }));
  }

  #focus() {
    /** @type {HTMLElement | null} */ (this.root.querySelector("[aria-checked='true']"))?.focus();
  }

  /** @param {string} id */
  choose(id) {
    this.#chosen = id;
    const any = this.#portraits.some((portrait) => portrait.id === id);
    [...this.root.children].forEach((child, index) => {
      const mine = /** @type {HTMLElement} */ (child).dataset.id === id;
      child.setAttribute("aria-checked", String(mine));
      child.setAttribute("tabindex", mine || (!any && index === 0) ? "0" : "-1");
    });
  }

  /** @param {string} id */
  uploaded(id) { return this.#portraits.find((portrait) => portrait.id === id)?.uploaded ?? false; }
}

/**
 * Ask whose face it is.
 * @param {HTMLDialogElement} dialog @param {Blob} picture
 * @returns {Promise<boolean>}
 */
export async function consents(dialog, picture) {
  const image = /** @type {HTMLImageElement} */ (dialog.querySelector("img"));
  const box = /** @type {HTMLInputElement} */ (dialog.querySelector("input[type='checkbox']"));
  const yes = /** @type {HTMLButtonElement} */ (dialog.querySelector("button[value='yes']"));
  const address = URL.createObjectURL(picture);
  image.src = address;
  box.checked = false;
  yes.disabled = true;
  const toggle = () => { yes.disabled = !box.checked; };
  box.addEventListener("change", toggle);
  dialog.returnValue = "no";
  dialog.showModal();
  await new Promise((resolve) => { dialog.addEventListener("close", resolve, { once: true }); });
  box.removeEventListener("change", toggle);
  URL.revokeObjectURL(address);
  return dialog.returnValue === "yes" && box.checked;
}

/**
 * Bring a picture to the session. It is scaled down here first where it is larger than any engine draws.
 * @param {string} session @param {Blob} picture @param {string} name
 */
export async function upload(session, picture, name) {
  const body = await smaller(picture);
  const response = await ask(`/api/sessions/${session}/portraits?consent=true&title=${encodeURIComponent(name.slice(0, 60))}`, {
    method: "POST", headers: { "Content-Type": body.type }, body,
  });
  return /** @type {Promise<Portrait>} */ (response.json());
}

/** @param {Blob} picture */
async function smaller(picture) {
  const most = 1536;
  /** @type {ImageBitmap} */
  let bitmap;
  try { bitmap = await createImageBitmap(picture); } catch { return picture; }
  const scale = most / Math.max(bitmap.width, bitmap.height);
  if (scale >= 1 && picture.size < 4e6) return picture;
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(bitmap.width * Math.min(1, scale));
  canvas.height = Math.round(bitmap.height * Math.min(1, scale));
  canvas.getContext("2d")?.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return new Promise((/** @type {(blob: Blob) => void} */ resolve) => {
    canvas.toBlob((blob) => resolve(blob ?? picture), "image/jpeg", 0.92);
  });
}
