// What the note on the avatar says. Pure: time is passed in, in milliseconds.
// @ts-check
/** @typedef {import("./types.js").Face} Face */

/** So long a camera that was turned on just now may take to bring a first face. */
const PATIENCE_MS = 4000;
/** A face that this browser has found is there for so many times of what finding it took: the server, which hears no more for that long, thinks that it has left. */
const NEXT = 2.5;

export class FaceNote {
  #since = 0;
  #seen = false;
  #thereUntil = 0;

  /** The camera was turned on, or another one taken. @param {number} now */
  restart(now) {
    this.#since = now;
    this.#seen = false;
    this.#thereUntil = 0;
  }

  /** This browser has looked for a face itself. @param {boolean} seen @param {number} took  milliseconds @param {number} now */
  found(seen, took, now) { this.#thereUntil = seen ? now + NEXT * took : 0; }

  /** @param {{face: Face, paused: boolean, source: import("./types.js").Source}} state @param {boolean} camera @param {number} now */
  text(state, camera, now) {
    if (state.paused) return "Paused";
    if (!camera || state.source === "sample" || state.source === "voice") return "";
    this.#seen ||= state.face === "tracking";
    if (state.face === "tracking" || state.face === "holding") return "";
    if (state.source === "landmarks" && now < this.#thereUntil) return "";
    if (state.face === "waiting" || (!this.#seen && now - this.#since < PATIENCE_MS)) return "Looking for your face";
    return state.face === "easing" ? "No face in the picture" : "No face in the picture: the avatar rests";
  }
}
