// Is there enough light on the driver's face, and does it come from the front? Said early, before landmarks suffer.
// @ts-check
import { get } from "./elements.js";

const EVERY_MS = 1500;
const WIDTH = 32;
const HEIGHT = 24;
/** Luma, 0 to 255: a face below is dim; one below the second, before something far brighter, is lit from behind. */
const DIM = 55;
const SHADED = 95;
const BRIGHTER = 1.9;
/** So many looks in a row have to agree. */
const LOOKS = 2;

/** @typedef {"dim" | "behind" | ""} Fault */

/** Where the face is taken to be: an ellipse about the middle. @param {number} x @param {number} y  0 to 1 */
function isFace(x, y) { return ((x - 0.5) / 0.2) ** 2 + ((y - 0.5) / 0.32) ** 2 < 1; }

/**
 * What is wrong with the light of a small picture. Pure.
 * @param {Uint8ClampedArray} pixels  RGBA @param {number} width @param {number} height @returns {Fault}
 */
export function judge(pixels, width, height) {
  const sums = { face: 0, faces: 0, around: 0, arounds: 0 };
  for (let at = 0; at < width * height; at += 1) {
    const luma = 0.2126 * (pixels[4 * at] ?? 0) + 0.7152 * (pixels[4 * at + 1] ?? 0) + 0.0722 * (pixels[4 * at + 2] ?? 0);
    if (isFace(((at % width) + 0.5) / width, (Math.floor(at / width) + 0.5) / height)) { sums.face += luma; sums.faces += 1; }
    else if (at < (width * height) * 0.6) { sums.around += luma; sums.arounds += 1; } // shoulders are no light
  }
  const face = sums.face / Math.max(1, sums.faces), around = sums.around / Math.max(1, sums.arounds);
  if (face < SHADED && around > BRIGHTER * face && around > 110) return "behind";
  return face < DIM ? "dim" : "";
}

const TEXT = {
  "": "",
  dim: "It is dim: more light on your face makes the avatar steadier.",
  behind: "The light comes from behind you: turn towards it, or put a lamp before you.",
};

/** Look every other second while the camera is on. @param {() => boolean} on */
export function watchLight(on) {
  const view = get("camera-view", HTMLVideoElement);
  const note = get("light-note", HTMLElement);
  const canvas = document.createElement("canvas");
  canvas.width = WIDTH;
  canvas.height = HEIGHT;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  /** @type {Fault} */
  let last = "";
  let count = 0;
  setInterval(() => {
    if (!context || !on() || !view.videoWidth) { last = ""; count = 0; note.hidden = true; return; }
    context.drawImage(view, 0, 0, WIDTH, HEIGHT);
    const fault = judge(context.getImageData(0, 0, WIDTH, HEIGHT).data, WIDTH, HEIGHT);
    count = fault === last ? count + 1 : 1;
    last = fault;
    if (count < LOOKS) return;
    if (note.textContent !== TEXT[fault]) note.textContent = TEXT[fault];
    note.hidden = fault === "";
  }, EVERY_MS);
}
