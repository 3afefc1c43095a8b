// Films and pictures of the avatar, made by the browser and kept nowhere else: saved as a file.
// @ts-check
import { get } from "./elements.js";
import { say } from "./notices.js";
import { figures } from "./stats.js";
import { download } from "./uploads.js";

/** @typedef {import("./types.js").Stats} Stats */

const KINDS = ["video/mp4;codecs=avc1.42E01E,mp4a.40.2", "video/webm;codecs=vp8,opus", "video/webm"];
/** Sound is held back by what the avatar's picture takes to come back, at most so long. Seconds. */
const LONGEST_DELAY = 1;
const LOOK_MS = 500;
const MOST_LOOKS = 6;
/** While it is recorded the sound follows what the picture takes: between two looks, and of how many the middle counts. */
const FOLLOW_MS = 1000;
const FOLLOWED = 5;
/** Less is not followed, seconds; and how fast, in seconds a second: no one hears sound that is so little slower. */
const UNNOTICED = 0.012;
const GLIDE = 0.03;
const button = get("record", HTMLButtonElement);
const picture = get("save-picture", HTMLButtonElement);
const voice = get("record-voice", HTMLInputElement);
const beside = get("record-beside", HTMLInputElement);
const sure = get("record-sure", HTMLDialogElement);
const avatar = get("avatar", HTMLVideoElement);
const shape = get("shape", HTMLSelectElement);
const self = get("camera-view", HTMLVideoElement);

function stamp() { return new Date().toISOString().slice(0, 19).replaceAll(":", "-").replace("T", " "); }

/** The camera and the avatar side by side. @returns {{stream: MediaStream, stop: () => void}} */
function pair() {
  const canvas = document.createElement("canvas");
  const height = avatar.videoHeight;
  const width = Math.round((self.videoWidth / self.videoHeight) * height);
  canvas.width = (width + avatar.videoWidth) & ~1;
  canvas.height = height & ~1;
  const context = canvas.getContext("2d");
  let going = true;
  const draw = () => {
    if (!going) return;
    context?.drawImage(self, 0, 0, width, height);
    context?.drawImage(avatar, width, 0);
    if ("requestVideoFrameCallback" in avatar) avatar.requestVideoFrameCallback(draw); else requestAnimationFrame(draw);
  };
  draw();
  return { stream: canvas.captureStream(30), stop: () => { going = false; } };
}

export class Recorder {
  /** @type {MediaRecorder | null} */ #recorder = null;
  /** What is let go of when it ends. @type {(() => void)[]} */ #held = [];
  #begun = 0;
  /** @type {ReturnType<typeof setInterval> | undefined} */ #clock;

  /**
   * @param {import("./connection.js").Connection} connection
   * @param {() => {server: Stats | null, camera: boolean, finding: number | null}} known  finding: see `figures`
   */
  constructor(connection, known) {
    this.connection = connection;
    this.known = known;
    if (!("MediaRecorder" in window)) { button.disabled = true; button.title = "This browser makes no films"; }
    button.addEventListener("click", () => void (this.#recorder ? this.#recorder.stop() : this.#begin()));
    picture.addEventListener("click", () => void this.#picture());
    beside.addEventListener("change", () => { // it holds the camera's own picture: asked twice
      if (!beside.checked) return;
      beside.checked = false;
      sure.showModal();
    });
    sure.addEventListener("close", () => { beside.checked = sure.returnValue === "yes"; sure.returnValue = ""; });
  }

  async #picture() {
    if (!avatar.videoWidth) { say("Wait until the avatar is live."); return; }
    const canvas = document.createElement("canvas");
    canvas.width = avatar.videoWidth;
    canvas.height = avatar.videoHeight;
    canvas.getContext("2d")?.drawImage(avatar, 0, 0);
    canvas.toBlob((blob) => { if (blob) download(blob, `avatar ${stamp()}.png`); }, "image/png");
  }

  /** What the picture of the avatar takes from the camera to here, in seconds; 0 where no camera drives. */
  async #delay() {
    const { pc } = this.connection;
    if (!pc || !this.known().camera) return 0;
    const before = new Map(/** @type {any} */ (await pc.getStats()));
    for (let look = 0; look < MOST_LOOKS; look += 1) { // nothing may have come in so short a time
      await new Promise((resolve) => { setTimeout(resolve, LOOK_MS); });
      const { server, finding } = this.known();
      const { glassToGlass } = figures(new Map(/** @type {any} */ (await pc.getStats())), before, server, finding);
      if (glassToGlass !== null) return Math.min(LONGEST_DELAY, glassToGlass / 1000);
    }
    return 0;
  }

  /** Hold the sound back by what the picture takes, which changes. @param {AudioContext} context @param {AudioParam} held */
  #follow(context, held) {
    /** @type {Map<string, any>} */
    let before = new Map();
    /** @type {number[]} */
    const seen = [held.value];
    let [target, there] = [held.value, context.currentTime];
    const timer = setInterval(async () => {
      const { pc } = this.connection;
      const { server, camera, finding } = this.known();
      if (!pc || !camera) return;
      const now = new Map(/** @type {any} */ (await pc.getStats()));
      const { glassToGlass } = figures(now, before, server, finding);
      const first = before.size === 0;
      before = now;
      if (first || glassToGlass === null) return;
      seen.push(Math.min(LONGEST_DELAY, glassToGlass / 1000));
      seen.splice(0, seen.length - FOLLOWED);
      const middle = /** @type {number} */ ([...seen].sort((a, b) => a - b)[seen.length >> 1]);
      if (context.currentTime < there || Math.abs(middle - target) < UNNOTICED) return;
      there = context.currentTime + Math.abs(middle - target) / GLIDE;
      held.setValueAtTime(target, context.currentTime);
      held.linearRampToValueAtTime(middle, there);
      target = middle;
      button.dataset.delay = String(Math.round(1000 * middle));
    }, FOLLOW_MS);
    this.#held.push(() => clearInterval(timer));
  }

  /** The user's voice, held back to go with the picture. @returns {Promise<MediaStreamTrack | null>} */
  async #voice() {
    if (!voice.checked) return null;
    try {
      const microphone = await navigator.mediaDevices.getUserMedia({ audio: true });
      this.#held.push(() => microphone.getTracks().forEach((track) => track.stop()));
      const context = new AudioContext();
      this.#held.push(() => void context.close());
      const late = context.createDelay(LONGEST_DELAY);
      late.delayTime.value = await this.#delay();
      button.dataset.delay = String(Math.round(1000 * late.delayTime.value));
      this.#follow(context, late.delayTime);
      const out = context.createMediaStreamDestination();
      context.createMediaStreamSource(microphone).connect(late).connect(out);
      return out.stream.getAudioTracks()[0] ?? null;
    } catch {
      say("There is no microphone, or it was not allowed: the film has no sound.");
      return null;
    }
  }

  async #begin() {
    const stream = /** @type {MediaStream | null} */ (avatar.srcObject);
    if (!stream || !avatar.videoWidth) { say("Wait until the avatar is live."); return; }
    button.disabled = true;
    const sound = await this.#voice();
    button.disabled = false;
    /** @type {MediaStreamTrack[]} */
    let tracks = stream.getVideoTracks();
    if (beside.checked && self.videoWidth) {
      const both = pair();
      this.#held.push(both.stop);
      tracks = both.stream.getVideoTracks();
    }
    beside.checked = false; // asked for anew each time
    const type = KINDS.find((kind) => MediaRecorder.isTypeSupported(kind)) ?? "";
    /** @type {Blob[]} */
    const parts = [];
    const recorder = (this.#recorder = new MediaRecorder(new MediaStream(sound ? [...tracks, sound] : tracks), { mimeType: type, videoBitsPerSecond: 4_000_000 }));
    recorder.addEventListener("dataavailable", (event) => { if (event.data.size) parts.push(event.data); });
    recorder.addEventListener("stop", () => this.#end(new Blob(parts, { type: type.split(";")[0] ?? "" })));
    for (const track of tracks) track.addEventListener("ended", () => { if (recorder.state !== "inactive") recorder.stop(); });
    recorder.start(1000);
    shape.disabled = true; // a film has one size
    this.#begun = performance.now();
    button.setAttribute("aria-pressed", "true");
    this.#clock = setInterval(() => this.#tell(), 500);
    this.#tell();
  }

  #tell() {
    const seconds = Math.floor((performance.now() - this.#begun) / 1000);
    this.#label(`Stop ${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`);
  }

  /** @param {string} text */
  #label(text) {
    const label = button.querySelector("span");
    if (label && label.textContent !== text) label.textContent = text;
  }

  /** @param {Blob} film */
  #end(film) {
    clearInterval(this.#clock);
    for (const let_go of this.#held.splice(0)) let_go();
    this.#recorder = null;
    button.setAttribute("aria-pressed", "false");
    shape.disabled = false;
    this.#label("Record");
    if (!film.size) { say("Nothing was recorded."); return; }
    download(film, `avatar ${stamp()}.${film.type.includes("mp4") ? "mp4" : "webm"}`);
    say("The film is saved with your downloads.", "note");
  }
}
