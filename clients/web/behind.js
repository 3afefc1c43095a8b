// What lies behind the portrait (its own background, blurred, green, a picture or a clip of the user's), and the
// picture's shape.
// @ts-check
import { Refused } from "./ask.js";
import { get } from "./elements.js";
import { backgrounds, keepBackground, keepOnly } from "./keep.js";
import { say } from "./notices.js";
import { decoded, uploadBackground } from "./uploads.js";
import { storage, Wishes } from "./wishes.js";

/** @typedef {import("./types.js").State} State */
/** @typedef {import("./types.js").Hello} Hello */
/** @typedef {import("./types.js").Preset} Preset */
/** @typedef {Pick<Preset, "background" | "blur" | "own_background">} Look */

/** Names a background that this browser keeps, where a preset's file has the file itself. */
const KEPT = "kept:";
const MOST_BYTES = 12 * 1024 * 1024;
/** Of what a preset's file takes. */
export const MOST_IN_PRESET = 8 * 1024 * 1024;
const select = get("background", HTMLSelectElement);
const busy = get("background-busy", HTMLElement);
const blurRow = get("blur-row", HTMLElement);
const blur = get("blur", HTMLInputElement);
const bringButton = get("bring-background", HTMLButtonElement);
const fileInput = get("background-file", HTMLInputElement);
const shapeRow = get("shape-row", HTMLElement);
const shape = get("shape", HTMLSelectElement);
const later = get("shape-later", HTMLElement);

export class Behind {
  /** Called when another file is kept. */ changed = () => {};
  /** Of the kept file that this session was brought. */ #brought = "";

  /** @param {import("./connection.js").Connection} connection @param {import("./wishes.js").Wishes} wishes */
  constructor(connection, wishes) {
    this.connection = connection;
    this.wishes = wishes;
    select.addEventListener("change", () => this.#choose(/** @type {any} */ (select.value)));
    blur.addEventListener("change", () => {
      wishes.set({ blur: blur.valueAsNumber });
      this.#choose("blur");
    });
    bringButton.addEventListener("click", () => fileInput.click());
    fileInput.addEventListener("change", () => {
      const file = fileInput.files?.[0];
      fileInput.value = "";
      if (file) void this.#add(file, file.name);
    });
    shape.addEventListener("change", () => {
      wishes.set({ shape: /** @type {any} */ (shape.value) });
      connection.send({ type: "shape", shape: wishes.shape });
      if (later.hidden) this.#busy(true);
    });
  }

  /** A session, which has to be brought what the user's browser keeps. @param {Hello} hello */
  async begin(hello) {
    this.#brought = "";
    shapeRow.hidden = hello.shapes.length === 0;
    for (const option of shape.options) option.hidden = option.value !== "" && !hello.shapes.includes(option.value);
    later.hidden = !hello.panel;
    if (!hello.panel && this.wishes.background === "own") await this.#bring(this.wishes.own);
  }

  /** @param {State} state  the server's word */
  state(state) {
    const own = /** @type {HTMLOptionElement} */ (select.querySelector("option[value=own]"));
    own.hidden = state.background !== "own" && this.#brought === "" && this.wishes.own === "";
    select.value = state.background;
    blurRow.hidden = state.background !== "blur";
    if (document.activeElement !== blur) blur.value = String(state.blur);
    shape.value = state.shape;
    if (!state.preparing) this.#busy(false);
  }

  /** @param {boolean} preparing  another background, or shape, is being prepared */
  #busy(preparing) {
    select.setAttribute("aria-busy", String(preparing));
    busy.textContent = preparing ? "Preparing" : "";
  }

  /** @param {import("./types.js").Background} background */
  #choose(background) {
    this.wishes.set({ background });
    this.#busy(true);
    if (background === "own" && this.#brought !== this.wishes.own) { void this.#bring(this.wishes.own); return; }
    this.connection.send({ type: "background", background, strength: background === "blur" ? this.wishes.blur : 1 });
  }

  /** A file of the user's: shown, and kept here. @param {Blob} file @param {string} title */
  async #add(file, title) {
    if (file.size > MOST_BYTES) { say("That file is too large: a background may have 12 MiB."); return false; }
    const { session } = this.connection;
    if (!session) { say("Wait until the avatar is live."); return false; }
    this.#busy(true);
    try {
      const made = await uploadBackground(session, file);
      const key = `behind-${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 10)}`;
      await keepBackground({ key, title, file, at: Date.now() });
      this.#brought = key;
      this.wishes.set({ background: "own", own: key });
      this.changed();
      say(made.cut ? `The clip is long: its first ${Math.round(made.seconds)} seconds go round.` : "", "note");
      return true;
    } catch (error) {
      say(error instanceof Refused ? error.message : "That file could not be used.");
      return false;
    } finally {
      this.#busy(false);
    }
  }

  /** Bring the session a kept file. @param {string} key */
  async #bring(key) {
    const found = (await backgrounds()).find((each) => each.key === key);
    const { session } = this.connection;
    if (!session) return;
    if (!found) {
      this.wishes.set({ background: "original", own: "" });
      this.connection.send({ type: "background", background: "original", strength: 1 });
      return;
    }
    this.#busy(true);
    try {
      await uploadBackground(session, found.file);
      this.#brought = key;
    } catch (error) {
      if (session === this.connection.session) say(error instanceof Refused ? error.message : "Your background could not be brought.");
    } finally {
      this.#busy(false);
    }
  }

  /** What a preset shall keep of it. @param {boolean} panel  its machine adds the file @returns {Look} */
  look(panel, /** @type {State} */ state) {
    if (panel) return { background: state.background, blur: state.blur };
    const { background, blur: strength, own } = this.wishes;
    return { background, blur: strength, ...(background === "own" && own ? { own_background: KEPT + own } : {}) };
  }

  /** Show what a preset says. @param {Look} look */
  wear({ background, blur: strength, own_background }) {
    this.wishes.set({ blur: strength });
    if (background !== "own") { this.#choose(background); return; }
    if (own_background?.startsWith(KEPT)) {
      this.wishes.set({ own: own_background.slice(KEPT.length) });
      this.#choose("own");
    } else if (own_background) void this.#add(decoded(own_background), "Of a preset");
  }
}

/** As a preset's file takes it: the file in place of its key. @param {Preset} preset @returns {Promise<Preset>} */
export async function whole(preset) {
  const { own_background, ...rest } = preset;
  if (!own_background?.startsWith(KEPT)) return preset;
  const found = (await backgrounds()).find(({ key }) => KEPT + key === own_background);
  if (!found) return { ...rest, background: "original" };
  if (found.file.size > MOST_IN_PRESET) throw new Refused(400, "The preset's clip is too large for a file: it may have 8 MiB");
  return { ...rest, own_background: await address(found.file) };
}

/** As this browser keeps it: the key in place of the file. @param {Preset} preset @returns {Promise<Preset>} */
export async function unpacked(preset) {
  const { own_background } = preset;
  if (!own_background || own_background.startsWith(KEPT)) return preset;
  const key = `behind-${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 10)}`;
  await keepBackground({ key, title: preset.name, file: decoded(own_background), at: Date.now() });
  return { ...preset, own_background: KEPT + key };
}

/**
 * Forget the files that neither these presets nor the user's choice name.
 * @param {Preset[]} presets @param {string} own  his choice on this page; what another page of his stored counts too
 */
export function tidy(presets, own) {
  const named = presets.map(({ own_background }) => (own_background ?? "").slice(KEPT.length));
  return keepOnly(new Set([own, new Wishes(storage()).own, ...named]));
}

/** @param {Blob} file @returns {Promise<string>} its data: address */
function address(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}
