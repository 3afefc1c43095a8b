// Bringing a picture to a session.
// @ts-check
/** @typedef {import("./types.js").Portrait} Portrait */
import { ask } from "./ask.js";

/** Pixels of the longer side: no engine draws more. */
const LARGEST_SIDE = 1536;

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

/** @param {string} session @param {Blob} picture @param {string} title */
export async function upload(session, picture, title) {
  const response = await ask(`/api/sessions/${session}/portraits?consent=true&title=${encodeURIComponent(title.slice(0, 60))}`, {
    method: "POST", headers: { "Content-Type": picture.type }, body: picture,
  });
  return /** @type {Promise<Portrait>} */ (response.json());
}

/** The picture, scaled down where it is larger than any engine draws; as it is where this browser cannot read it. @param {Blob} picture */
export async function smaller(picture) {
  /** @type {ImageBitmap} */
  let bitmap;
  try { bitmap = await createImageBitmap(picture); } catch { return picture; }
  const scale = LARGEST_SIDE / Math.max(bitmap.width, bitmap.height);
  if (scale >= 1 && picture.size < 4e6) return picture;
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(bitmap.width * Math.min(1, scale));
  canvas.height = Math.round(bitmap.height * Math.min(1, scale));
  const paper = canvas.getContext("2d");
  if (!paper) return picture;
  paper.fillStyle = "white"; // as the server does with what is transparent
  paper.fillRect(0, 0, canvas.width, canvas.height);
  paper.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return jpeg(canvas);
}

/** @param {HTMLCanvasElement} canvas @returns {Promise<Blob>} */
export function jpeg(canvas) {
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("no picture"))), "image/jpeg", 0.92);
  });
}
