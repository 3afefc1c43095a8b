// Calibrating: look ahead, a count-down, the face that is seen, and what was learnt.
// @ts-check
import { get } from "./elements.js";

const COUNT = 3;
/** Longer than the server takes, whatever it sees. */
const LONGEST_MS = 15000;
const dialog = get("calibration", HTMLDialogElement);
const view = get("calibration-view", HTMLVideoElement);
const learnt = get("calibration-face", HTMLCanvasElement);
const word = get("calibration-word", HTMLElement);
const bar = get("calibration-bar", HTMLProgressElement);
const again = get("calibration-again", HTMLButtonElement);
const done = get("calibration-done", HTMLButtonElement);

const NO_FACE = "No face is in the picture, so nothing was learnt. Sit in the light, look into the camera, and try again.";

/** @typedef {{seen: boolean, progress: number}} Look  seen: a face is in the picture; progress: of learning, 0 to 1 */

/** Events: none; everything is in its dialog. */
export class Calibration {
  #run = 0;

  /**
   * @param {() => MediaStream | null} camera  null where the server has the camera
   * @param {() => Look} look @param {() => void} ask  tell the server to learn
   */
  constructor(camera, look, ask) {
    this.camera = camera;
    this.look = look;
    this.ask = ask;
    again.addEventListener("click", () => void this.#go());
    dialog.addEventListener("close", () => {
      this.#run += 1;
      view.srcObject = null;
    });
  }

  open() {
    view.srcObject = this.camera();
    dialog.showModal();
    void this.#go();
  }

  /** The server would not. @param {string} text @returns {boolean} it was this that it refused */
  refused(text) {
    if (!dialog.open || again.hidden === false) return false;
    this.#end(text);
    return true;
  }

  async #go() {
    const run = ++this.#run;
    const over = () => run !== this.#run;
    view.hidden = view.srcObject === null;
    learnt.hidden = again.hidden = bar.hidden = true;
    done.textContent = "Cancel";
    done.focus();
    for (let left = COUNT; left > 0; left -= 1) {
      word.textContent = `Look straight ahead, with a relaxed face: ${left}`;
      await pause(1000);
      if (over()) return;
    }
    if (!this.look().seen) { this.#end(NO_FACE); return; }
    this.ask();
    word.textContent = "Stay like this";
    bar.value = 0;
    bar.hidden = false;
    const end = performance.now() + LONGEST_MS;
    let begun = false;
    while (performance.now() < end) {
      await pause(200);
      if (over()) return;
      const { seen, progress } = this.look();
      if (!seen) { this.#end(NO_FACE); return; }
      begun ||= progress < 1;
      bar.value = begun ? progress : 0;
      if (begun && progress >= 1) { this.#learnt(); return; }
    }
    this.#end("That took too long: too much moved. Try again, and keep still for three seconds.");
  }

  #learnt() {
    if (!view.hidden) {
      learnt.width = view.videoWidth;
      learnt.height = view.videoHeight;
      learnt.getContext("2d")?.drawImage(view, 0, 0);
      learnt.hidden = false;
      view.hidden = true;
    }
    this.#end("Learnt: the avatar rests when you look like this.");
    done.textContent = "Done";
  }

  /** @param {string} text */
  #end(text) {
    this.#run += 1;
    word.textContent = text;
    bar.hidden = true;
    again.hidden = false;
    done.textContent = "Close";
  }
}

/** @param {number} ms */
function pause(ms) { return new Promise((resolve) => { setTimeout(resolve, ms); }); }
