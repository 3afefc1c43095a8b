// How well the neutral face that was learnt still sits, in words and as a small meter; and when to learn it again.
// @ts-check
import { get } from "./elements.js";

const line = get("sits", HTMLElement);
const word = get("sits-word", HTMLElement);
const meter = get("sits-meter", HTMLMeterElement);
const button = get("calibrate", HTMLButtonElement);
const WELL = 0.7;
const FAIRLY = 0.4;
/** So many looks in a row, one a second, before anybody is asked to calibrate again. */
const LOOKS = 4;

/**
 * Pure. @param {number | null} fit @param {"" | "head" | "face"} off @returns {{text: string, again: boolean}}
 */
export function judge(fit, off) {
  if (fit === null) return { text: "Your neutral face: seen too little of it so far", again: false };
  if (fit >= WELL) return { text: "Your neutral face sits well", again: false };
  if (fit >= FAIRLY) return { text: "Your neutral face sits fairly", again: false };
  return off === "head"
    ? { text: "You sit otherwise than before, or the camera has moved: calibrate again", again: true }
    : { text: "Your face at rest looks otherwise than before (somebody else, other light, glasses): calibrate again", again: true };
}

let badly = 0;

/** The server's word, once a second. @param {import("./types.js").Stats | null} stats @param {boolean} driven  a face drives */
export function showSits(stats, driven) {
  line.hidden = !driven || !stats || stats.calibration < 1;
  if (line.hidden || !stats) { badly = 0; button.classList.remove("wanted"); return; }
  const { text, again } = judge(stats.fit, stats.off);
  badly = again ? badly + 1 : 0;
  const wanted = badly >= LOOKS;
  const shown = again && !wanted ? "Your neutral face sits fairly" : text;
  if (word.textContent !== shown) word.textContent = shown;
  meter.hidden = stats.fit === null;
  meter.value = stats.fit ?? 0;
  button.classList.toggle("wanted", wanted);
}
