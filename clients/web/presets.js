// Presets: portrait, sliders and all else that is set, under a name, and as a file. The panel of a running camera keeps
// them on its machine, where `avatar run --preset` finds them; elsewhere this browser keeps them.
// @ts-check
import { ask, Refused } from "./ask.js";
import { tidy, unpacked, whole } from "./behind.js";
import { get } from "./elements.js";
import { say } from "./notices.js";
import { decoded, download } from "./uploads.js";
import { storage } from "./wishes.js";

/** @typedef {import("./types.js").Preset} Preset */

const PLACE = "avatar.presets";
const MOST = 64;
const MOST_BYTES = 12 * 1024 * 1024;
const JSON_TYPE = { "Content-Type": "application/json" };
const chosen = get("preset", HTMLSelectElement);
const nameBox = get("preset-name", HTMLInputElement);
const fileInput = get("preset-file", HTMLInputElement);
const [use, drop, save, exporting, importing] = /** @type {HTMLButtonElement[]} */ (
  ["preset-use", "preset-delete", "preset-save", "preset-export", "preset-import"].map((id) => get(id, HTMLButtonElement)));

/** @typedef {{names: () => Promise<string[]>, load: (name: string) => Promise<Preset>, save: (preset: Preset) => Promise<void>, remove: (name: string) => Promise<void>}} Shelf */

/** @returns {Record<string, Preset>} what this browser keeps, by name */
function stored() {
  try { return JSON.parse(storage()?.getItem(PLACE) ?? "{}"); } catch { return {}; }
}

/** Forget the backgrounds that no preset of this browser names. @param {string} own  the key of the one that the user has chosen, kept too */
export function tidyUp(own) { return tidy(Object.values(stored()), own); }

/** What this browser keeps. Pictures of the user's are named by their key: who deletes one has deleted it. */
class BrowserShelf {
  /** @param {() => string} own  the key of the background that the user has chosen */
  constructor(own) { this.own = own; }

  /** @param {Record<string, Preset>} all */
  #store(all) {
    try {
      if (Object.keys(all).length > MOST) throw new Refused(400, `There are ${MOST} presets already: delete one first`);
      storage()?.setItem(PLACE, JSON.stringify(all));
    } catch (error) {
      throw error instanceof Refused ? error : new Refused(400, "This browser has no room for it: delete a preset first");
    } finally { // also of a preset that was not taken
      void tidyUp(this.own());
    }
  }

  async names() { return Object.keys(stored()).sort((a, b) => a.localeCompare(b)); }

  /** @param {string} name */
  async load(name) {
    const preset = stored()[name];
    if (!preset) throw new Refused(404, "There is no such preset any more");
    return { ...{ blur: 1, shape: "" }, ...preset }; // one of an earlier version says nothing of them
  }

  /** @param {Preset} preset */
  async save(preset) {
    this.#store({ ...stored(), [preset.name]: preset });
  }

  /** @param {string} name */
  async remove(name) {
    const { [name]: _, ...left } = stored();
    this.#store(left);
  }
}

/** What the machine of a running camera keeps. */
class MachineShelf {
  /** @param {import("./connection.js").Connection} connection */
  constructor(connection) { this.connection = connection; }

  /** @param {string} [name] */
  #address(name) { return `/api/sessions/${this.connection.session}/presets${name === undefined ? "" : `/${encodeURIComponent(name)}`}`; }

  async names() { return (await (await ask(this.#address())).json()).names; }

  /** @param {string} name */
  async load(name) { return (await ask(this.#address(name))).json(); }

  /** @param {Preset} preset */
  async save(preset) { await ask(this.#address(), { method: "POST", headers: JSON_TYPE, body: JSON.stringify(preset) }); }

  /** @param {string} name */
  async remove(name) { await ask(this.#address(name), { method: "DELETE" }); }
}

/** The card of presets. */
export class Presets {
  /** @type {Shelf | null} */ #shelf = null;
  #panel = false;

  /**
   * @param {import("./connection.js").Connection} connection
   * @param {import("./portraits.js").Portraits} portraits
   * @param {() => Omit<Preset, "name" | "portrait"> | null} set  what is set now, null while nothing is known
   * @param {(preset: Preset) => void} wear  set all but the portrait
   * @param {() => string} own  the key of the background that the user has chosen
   */
  constructor(connection, portraits, set, wear, own) {
    this.connection = connection;
    this.portraits = portraits;
    this.set = set;
    this.wear = wear;
    this.own = own;
    use.addEventListener("click", () => void this.#try(async (shelf) => this.#wear(await shelf.load(chosen.value))));
    save.addEventListener("click", () => void this.#try((shelf) => this.#save(shelf)));
    nameBox.addEventListener("keydown", (event) => { if (event.key === "Enter") save.click(); });
    drop.addEventListener("click", () => void this.#try(async (shelf) => {
      const name = chosen.value;
      await shelf.remove(name);
      await this.#list(shelf);
      say(`“${name}” is deleted.`, "note");
    }));
    exporting.addEventListener("click", () => void this.#try(async (shelf) => this.#export(await shelf.load(chosen.value))));
    importing.addEventListener("click", () => fileInput.click());
    fileInput.addEventListener("change", () => {
      const file = fileInput.files?.[0];
      fileInput.value = "";
      if (file) void this.#try((shelf) => this.#import(shelf, file));
    });
    chosen.addEventListener("change", () => this.#enable());
  }

  /** A session is there. @param {boolean} panel */
  async begin(panel) {
    if (!this.#shelf || panel !== this.#panel) this.#shelf = panel ? new MachineShelf(this.connection) : new BrowserShelf(this.own);
    this.#panel = panel;
    get("preset-where", HTMLElement).textContent = panel ? "Kept on this computer, where avatar run --preset NAME finds them." : "Kept in this browser; a file takes one elsewhere.";
    await this.#try((shelf) => this.#list(shelf, chosen.value));
  }

  /** @param {(shelf: Shelf) => Promise<void>} act */
  async #try(act) {
    if (!this.#shelf) return;
    try {
      await act(this.#shelf);
    } catch (error) {
      say(error instanceof Refused ? error.message : "The preset could not be used.");
    }
  }

  /** @param {Shelf} shelf @param {string} [wanted] */
  async #list(shelf, wanted = "") {
    const names = await shelf.names();
    chosen.replaceChildren(...names.map((name) => new Option(name, name, false, name === wanted)));
    if (!names.length) chosen.replaceChildren(new Option("None yet", ""));
    this.#enable();
  }

  #enable() { for (const button of [use, drop, exporting]) button.disabled = chosen.value === ""; }

  /** @param {Shelf} shelf */
  async #save(shelf) {
    const now = this.set();
    const name = nameBox.value.trim() || chosen.value;
    if (!now) throw new Refused(400, "Wait until the avatar is live");
    if (!name) { nameBox.focus(); throw new Refused(400, "Give the preset a name first"); }
    const portrait = this.portraits.worn(this.#panel);
    const preset = await this.#looked({ ...now, format: "avatar-preset", version: 1, name, ...(portrait ? { portrait } : {}) });
    await shelf.save(preset);
    nameBox.value = "";
    await this.#list(shelf, preset.name);
    say(`“${preset.name}” is kept.`, "note");
  }

  /** The server looks a preset over; a key, which only this browser knows, stays here. @param {Preset} preset @returns {Promise<Preset>} */
  async #looked(preset) {
    const { portrait, own_background, ...rest } = preset;
    const sent = portrait?.key ? rest : portrait ? { ...rest, portrait } : rest;
    const looked = await (await ask("/api/presets", { method: "POST", headers: JSON_TYPE, body: JSON.stringify(sent) })).json();
    return { ...looked, ...(portrait?.key ? { portrait } : {}), ...(own_background ? { own_background } : {}) };
  }

  /** @param {Preset} preset */
  async #wear(preset) {
    this.wear(preset);
    const missing = await this.portraits.wear(preset.portrait ?? null);
    say(missing || `“${preset.name}” is on.`, missing ? "trouble" : "note");
  }

  /** @param {Preset} preset */
  async #export(preset) {
    const { portrait, ...rest } = await whole(preset);
    const own = portrait?.key ? await this.portraits.picture(portrait.key) : null;
    const file = own ? { ...rest, portrait: own } : portrait && !portrait.key ? { ...rest, portrait } : rest;
    download(new Blob([JSON.stringify(file, null, 1)], { type: "application/json" }), `${preset.name}.json`);
    if (own && portrait?.key && this.portraits.hasViews(portrait.key)) say("The file holds the portrait itself; its other views stay in this browser.", "note");
  }

  /** @param {Shelf} shelf @param {File} file */
  async #import(shelf, file) {
    if (file.size > MOST_BYTES) throw new Refused(400, "That file is larger than a preset may be (12 MiB)");
    const response = await ask("/api/presets", { method: "POST", headers: JSON_TYPE, body: file });
    const read = /** @type {Preset} */ (await response.json());
    const { portrait, ...rest } = read;
    /** @type {Preset} */
    let preset = portrait && !portrait.picture ? { ...rest, portrait } : rest;
    if (portrait?.picture) {
      if (!(await this.portraits.add(decoded(portrait.picture), portrait.title || rest.name, undefined, false))) {
        say("Nothing was taken from that file.", "note");
        return;
      }
      const worn = this.portraits.worn(this.#panel);
      preset = worn ? { ...rest, portrait: worn } : rest;
    }
    if (!this.#panel) preset = await unpacked(preset);
    await shelf.save(preset);
    await this.#list(shelf, preset.name);
    await this.#wear(preset);
  }
}
