// The camera's pictures stay in this browser: a worker finds the face's landmarks, and they alone go to the server.
// @ts-check
import { ask } from "./ask.js";
import { canPack, LandmarkWriter } from "./landmark-wire.js";

/** @typedef {import("./landmark-wire.js").Found} Found */
/** @typedef {"missing" | "unable" | "failed" | "slow"} Why  why pictures cannot stay here */
/**
 * Landmarks of one picture.
 * took: milliseconds.
 * @typedef {Found & {took: number}} Result
 */

/** Landmarks a second that a driver needs; fewer, and video follows better. */
export const LEAST_FPS = 15;
/** The first seconds go to loading the model and building its shaders; longer is not waited for. */
const START_MS = 15000;
const TRIAL_MS = 1000;
/** More than this waits to be sent: the network is slower than the face. */
const BUFFERED = 16384;

/** Why this browser cannot find landmarks, null: it may. @param {string[]} model  addresses of the model's files */
export function obstacle(model) {
  if (!model.length) return "missing";
  const able = "WebAssembly" in window && "OffscreenCanvas" in window && "Worker" in window && canPack();
  return able && new OffscreenCanvas(1, 1).getContext("webgl2") ? null : "unable";
}

/** Decides whether landmarks come fast enough. Pure: time is passed in, in milliseconds. */
export class Trial {
  #since = -1;
  #count = 0;
  #busy = 0;

  /** Landmarks were found, the first ones late. @param {number} took @param {number} now @returns {boolean | null} null: not known yet */
  enough(took, now) {
    if (this.#since < 0) { this.#since = now; return null; }
    this.#count += 1;
    this.#busy += took;
    return now - this.#since < TRIAL_MS ? null : (1000 * this.#count) / this.#busy >= LEAST_FPS;
  }
}

/** Events: "landmarks" (Result) of each picture, "steady" when they come fast enough, "trouble" (Why) when not. */
export class PrivateCamera extends EventTarget {
  /** @type {Worker | null} */ #worker = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  #turn = 0;
  #trial = new Trial();
  #tried = false;

  /** @param {string[]} model  addresses of its files */
  constructor(model) {
    super();
    this.model = model;
  }

  get on() { return this.#worker !== null; }

  /** @param {MediaStream} stream @param {HTMLVideoElement} view  shows it @param {boolean} patient  however slow */
  async start(stream, view, patient) {
    this.stop();
    const turn = ++this.#turn;
    const trouble = (/** @type {Why} */ why) => {
      if (turn !== this.#turn) return;
      this.stop();
      this.dispatchEvent(new CustomEvent("trouble", { detail: why }));
    };
    const why = obstacle(this.model);
    if (why) { trouble(why); return; }
    this.#trial = new Trial();
    this.#tried = patient;
    const worker = (this.#worker = new Worker("/app/landmark-worker.js"));
    if (!patient) this.#timer = setTimeout(() => trouble("slow"), START_MS);
    worker.addEventListener("error", () => trouble("failed"));
    worker.addEventListener("message", ({ data }) => {
      if (turn !== this.#turn) return;
      if (data.failed) trouble("failed");
      else if (data.ready) this.#feed(worker, stream, view);
      else if (data.result) {
        this.#found(data.result, trouble);
        if (turn === this.#turn && !this.#follows) this.#next(worker, view);
      }
    });
    try {
      const files = Object.fromEntries(await Promise.all(this.model.map(async (at) => (
        [at.replace(/^.*\/|\?.*$/g, ""), await (await ask(at)).blob()]))));
      worker.postMessage({ files });
    } catch { trouble("failed"); }
  }

  /** The worker reads the camera itself. */
  #follows = false;

  /** @param {Worker} worker @param {MediaStream} stream @param {HTMLVideoElement} view */
  #feed(worker, stream, view) {
    const Processor = /** @type {any} */ (window).MediaStreamTrackProcessor;
    const track = stream.getVideoTracks()[0];
    this.#follows = Boolean(Processor && track);
    if (!this.#follows) { this.#next(worker, view); return; }
    const { readable } = new Processor({ track, maxBufferSize: 1 });
    worker.postMessage({ frames: readable }, [readable]);
  }

  /** The next picture of a browser that lets no worker read a camera. @param {Worker} worker @param {HTMLVideoElement} view */
  #next(worker, view) {
    const turn = this.#turn;
    const take = async (/** @type {number} */ captured) => {
      if (turn !== this.#turn || !view.videoWidth) return;
      const picture = await createImageBitmap(view);
      if (turn === this.#turn) worker.postMessage({ picture, captured: 1000 * captured }, [picture]);
    };
    if (document.hidden || !("requestVideoFrameCallback" in view)) setTimeout(() => void take(performance.now()), 30);
    else view.requestVideoFrameCallback((now, { captureTime }) => void take(captureTime ?? now));
  }

  /** @param {Result} result @param {(why: Why) => void} trouble */
  #found(result, trouble) {
    clearTimeout(this.#timer);
    const enough = this.#tried ? null : this.#trial.enough(result.took, performance.now());
    if (enough === false) { trouble("slow"); return; }
    this.dispatchEvent(new CustomEvent("landmarks", { detail: result }));
    if (enough) {
      this.#tried = true;
      this.dispatchEvent(new CustomEvent("steady"));
    }
  }

  stop() {
    this.#turn += 1;
    clearTimeout(this.#timer);
    this.#worker?.terminate();
    this.#worker = null;
  }
}

/** Sends landmarks over a data channel, the newest only: what cannot go at once is left out. */
export class LandmarkSender {
  #writer = new LandmarkWriter();
  bytes = 0;
  packets = 0;

  /** @param {RTCDataChannel} channel  unordered, without repetition */
  constructor(channel) {
    this.channel = channel;
    channel.addEventListener("message", ({ data }) => {
      const event = JSON.parse(data);
      if (event.type === "kept") this.#writer.kept(event.sequence);
    });
  }

  /** @param {Found} found */
  async send(found) {
    if (this.channel.readyState !== "open" || this.channel.bufferedAmount > BUFFERED) return;
    const packet = await this.#writer.pack(found);
    if (/** @type {string} */ (this.channel.readyState) !== "open") return;
    this.channel.send(packet);
    this.packets += 1;
    this.bytes += packet.byteLength;
  }
}
