// Which way the user's face goes to the server: as landmarks that this browser finds, or as video. And what is said of it.
// @ts-check
import { get } from "./elements.js";
import { say } from "./notices.js";
import { obstacle, PrivateCamera } from "./private-camera.js";
import { storage } from "./wishes.js";

/** @typedef {"auto" | "here" | "video"} Choice  here: whatever comes, no picture leaves */
/** @typedef {import("./private-camera.js").Why | "engine" | "panel" | null} Why */

const PLACE = "avatar.face";
const line = get("privacy", HTMLElement);
const choice = get("face-way", HTMLSelectElement);
const caption = get("self-caption", HTMLElement);
const view = get("camera-view", HTMLVideoElement);
const HERE = "Your camera stays on this machine: this browser finds the points of your face, and they alone are sent.";
const MAYBE = "Your camera stays on this machine, if this browser finds the points of your face fast enough; if not, it goes to this server as video, and you are told.";
const VIDEO = "Your camera picture goes to this server alone and is never shown or kept: only the avatar is.";
/** @type {Record<Exclude<Why, "panel" | null>, string>} */
const REASONS = {
  missing: "This server has no face model for browsers",
  engine: "This avatar needs the picture itself",
  unable: "This browser cannot find a face by itself (it lacks WebGL or WebAssembly)",
  failed: "The face model does not work in this browser",
  slow: "This browser is too slow to find a face by itself",
};

export class FaceWay {
  #private;
  /** Why pictures cannot stay here. @type {Why} */ #why = null;
  /** It has been found fast enough. */ #steady = false;
  /** @type {MediaStream | null} */ #stream = null;
  /** The camera is on, and the first landmarks have not come. */ starting = false;
  /** Called when they have. */ begun = () => {};
  /** Called with each look for a face: was there one, and what it took. @type {(seen: boolean, took: number) => void} */ looked = () => {};
  /** Milliseconds from a picture to its landmarks, of late. @type {number | null} */ finding = null;

  /** @param {import("./connection.js").Connection} connection */
  constructor(connection) {
    this.connection = connection;
    this.#private = new PrivateCamera(connection.config.faceModel);
    this.#why = obstacle(connection.config.faceModel);
    const kept = storage()?.getItem(PLACE);
    if (kept === "here" || kept === "video") choice.value = kept;
    choice.addEventListener("change", () => {
      try { storage()?.setItem(PLACE, choice.value); } catch { /* full */ }
      if (this.#why === "slow" || this.#why === "failed") this.#why = null; // it is tried again
      if (this.#stream) void this.start(this.#stream);
      this.#tell();
    });
    connection.addEventListener("message", (event) => {
      const message = /** @type {CustomEvent<import("./types.js").Event>} */ (event).detail;
      if (message.type === "hello") this.#greeted(message);
    });
    this.#private.addEventListener("landmarks", (event) => {
      const { took, ...found } = /** @type {CustomEvent<import("./private-camera.js").Result>} */ (event).detail;
      if (this.starting) { this.starting = false; this.begun(); }
      else this.finding = this.finding === null ? took : 0.9 * this.finding + 0.1 * took; // the first ones take longer
      this.looked(found.points !== null, took);
      void connection.sendLandmarks(found);
    });
    this.#private.addEventListener("steady", () => { this.#steady = true; this.#tell(); });
    this.#private.addEventListener("trouble", (event) => {
      this.#fall(/** @type {CustomEvent<import("./private-camera.js").Why>} */ (event).detail);
    });
    this.#tell();
  }

  /** Do pictures stay here, as far as is known now? */
  get #here() { return choice.value === "here" || (choice.value === "auto" && this.#why === null); }

  /** The camera is on. @param {MediaStream} stream */
  async start(stream) {
    this.#stream = stream;
    this.finding = null;
    this.starting = false;
    this.#private.stop();
    if (choice.value === "video") {
      await this.connection.useCamera(stream.getVideoTracks()[0] ?? null);
    } else if (this.#why) {
      this.#fall(this.#why);
    } else {
      this.starting = true;
      await this.connection.useLandmarks();
      await this.#private.start(stream, view, choice.value === "here");
    }
    this.#tell();
  }

  /** The camera is off. */
  async stop() {
    this.#stream = this.finding = null;
    this.starting = false;
    this.#private.stop();
    await this.connection.useCamera(null);
    this.#tell();
  }

  /** Pictures cannot stay here: they go as video where the user has left it to us. @param {Why} why */
  #fall(why) {
    this.#why = why;
    this.finding = null;
    this.starting = false;
    const stream = this.#stream;
    if (!stream || why === null || why === "panel") return;
    if (choice.value === "here") {
      void this.connection.useCamera(null);
      say(`${REASONS[why]}, and nothing of your camera is sent. Choose “as video” below the avatar to send it to the server.`);
    } else {
      say(`${REASONS[why]}: your camera goes to the server as video.`);
      void this.connection.useCamera(stream.getVideoTracks()[0] ?? null);
    }
    this.#tell();
  }

  /** @param {import("./types.js").Hello} hello */
  #greeted(hello) {
    if (hello.panel) this.#why = "panel";
    else if (!hello.landmarks) this.#why = "engine";
    else if (this.#why === "engine") this.#why = obstacle(this.connection.config.faceModel);
    this.#tell();
  }

  #tell() {
    choice.hidden = this.#why === "panel";
    const reason = this.#why && this.#why !== "panel" && choice.value === "auto" ? `${REASONS[this.#why]}. ` : "";
    if (this.#why !== "panel") line.textContent = !this.#here ? reason + VIDEO : this.#steady || choice.value === "here" ? HERE : MAYBE;
    line.dataset.way = this.#here ? "here" : "video";
    caption.textContent = this.#here ? "Stays here" : "You";
  }
}
