// What the user set: kept by his browser, and told again to each new session.
// @ts-check
/** @typedef {import("./types.js").Background} Background */
/** @typedef {import("./types.js").Command} Command */
/** @typedef {import("./types.js").Hello} Hello */

const PLACE = "avatar.wishes";
/** Of the face, of which the driver's motion can be more or less. */
export const PARTS = ["head", "mouth", "eyes", "brows"];
const BACKGROUNDS = ["original", "green", "blur"];

export class Wishes {
  /** @type {Record<string, number>} */ edits = {};
  /** @type {string | null} the id of a portrait of the server, or the key of a picture kept here */ portrait = null;
  /** @type {Background} */ background = "original";
  mirror = false;
  /** @type {Record<string, number>} */ amplitude = {};
  hold_gaze = false;
  smoothing = 0;
  /** Not kept over a reload: who opens a page wants to see something move. */
  paused = false;

  /** @param {Storage | null} storage  null: nothing is kept */
  constructor(storage) {
    this.storage = storage;
    try {
      const kept = JSON.parse(storage?.getItem(PLACE) ?? "{}");
      for (const [name, value] of Object.entries(kept.edits ?? {})) if (Number.isFinite(value)) this.edits[name] = value;
      for (const part of PARTS) if (Number.isFinite(kept.amplitude?.[part])) this.amplitude[part] = kept.amplitude[part];
      this.hold_gaze = kept.hold_gaze === true;
      if (Number.isFinite(kept.smoothing)) this.smoothing = Math.min(1, Math.max(0, kept.smoothing));
      if (typeof kept.portrait === "string") this.portrait = kept.portrait;
      if (BACKGROUNDS.includes(kept.background)) this.background = kept.background;
      this.mirror = kept.mirror === true;
    } catch { /* not ours, or damaged: begin anew */ }
  }

  /** @param {Partial<Pick<Wishes, "edits" | "portrait" | "background" | "mirror" | "amplitude" | "hold_gaze" | "smoothing" | "paused">>} change */
  set(change) {
    Object.assign(this, change);
    const { edits, portrait, background, mirror, amplitude, hold_gaze, smoothing } = this;
    try { this.storage?.setItem(PLACE, JSON.stringify({ edits, portrait, background, mirror, amplitude, hold_gaze, smoothing })); } catch { /* full */ }
  }

  /** The sliders that are not at rest and that this engine has, within its ranges. @param {Hello} hello */
  editsFor(hello) {
    /** @type {Record<string, number>} */
    const out = {};
    for (const { name, lo, hi } of hello.directions) {
      const value = Math.min(hi, Math.max(lo, this.edits[name] ?? 0));
      if (value !== 0) out[name] = value;
    }
    return out;
  }

  /**
   * What a session that knows nothing yet has to be told; its portrait aside.
   * @param {Hello} hello @returns {Command[]}
   */
  commands(hello) {
    /** @type {Command[]} */
    const out = [];
    const values = this.editsFor(hello);
    if (this.background !== hello.state.background) out.push({ type: "background", background: this.background });
    if (Object.keys(values).length) out.push({ type: "set_edits", values });
    if (this.mirror !== hello.state.mirror) out.push({ type: "mirror", on: this.mirror });
    if (this.hold_gaze !== hello.state.hold_gaze) out.push({ type: "hold_gaze", on: this.hold_gaze });
    if (this.smoothing !== hello.state.smoothing) out.push({ type: "smoothing", amount: this.smoothing });
    if (Object.keys(this.amplitude).length) out.push({ type: "amplitude", values: this.amplitude });
    if (this.paused !== hello.state.paused) out.push({ type: "pause", paused: this.paused });
    return out;
  }
}

/** The browser's storage, null where it keeps nothing (a private window, cookies refused). */
export function storage() {
  try { return window.localStorage; } catch { return null; }
}
