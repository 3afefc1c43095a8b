// What the user set: kept by his browser, and told again to each new session.
// @ts-check
/** @typedef {import("./types.js").Background} Background */
/** @typedef {import("./types.js").Shape} Shape */
/** @typedef {import("./types.js").Command} Command */
/** @typedef {import("./types.js").Hello} Hello */

const PLACE = "avatar.wishes";
/** Of the face, of which the driver's motion can be more or less. */
export const PARTS = ["head", "mouth", "eyes", "brows", "body"];
const BACKGROUNDS = ["original", "green", "blur", "own"];
const SHAPES = ["1:1", "16:9", "9:16", "4:3", "3:4"];

export class Wishes {
  /** @type {Record<string, number>} */ edits = {};
  /** @type {string | null} the id of a portrait of the server, or the key of a picture kept here */ portrait = null;
  /** @type {Background} */ background = "original";
  blur = 1;
  /** The key of a picture or a clip that this browser keeps, "" without one. */ own = "";
  /** Of the picture, "" as the server has it. @type {Shape} */ shape = "";
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
      if (Number.isFinite(kept.blur)) this.blur = Math.min(4, Math.max(0.1, kept.blur));
      if (typeof kept.own === "string") this.own = kept.own;
      if (SHAPES.includes(kept.shape)) this.shape = kept.shape;
      this.mirror = kept.mirror === true;
    } catch { /* not ours, or damaged: begin anew */ }
  }

  /** @param {Partial<Pick<Wishes, "edits" | "portrait" | "background" | "blur" | "own" | "shape" | "mirror" | "amplitude" | "hold_gaze" | "smoothing" | "paused">>} change */
  set(change) {
    Object.assign(this, change);
    const { storage: _, paused: __, ...kept } = this;
    try { this.storage?.setItem(PLACE, JSON.stringify(kept)); } catch { /* full */ }
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
    const { background, blur, shape } = this;
    if (background !== "own" && (background !== hello.state.background || (background === "blur" && blur !== hello.state.blur))) // that is brought
      out.push({ type: "background", background, strength: background === "blur" ? blur : 1 });
    if (shape !== hello.state.shape && (shape === "" || hello.shapes.includes(shape))) out.push({ type: "shape", shape });
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
