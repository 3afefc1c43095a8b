// Portraits: those of the server, and the pictures that the user brought, which his browser keeps. What he chose is
// brought to each new session.
// @ts-check
import { Refused } from "./ask.js";
import { edit } from "./editor.js";
import { Gallery } from "./gallery.js";
import { forget, keep, kept, update } from "./keep.js";
import { cover, say } from "./notices.js";
import { decoded, forgetPortrait, forgetView, look, only, upload, uploadView } from "./uploads.js";
import { ViewsRow } from "./views.js";

/** @typedef {import("./types.js").Portrait} Portrait */
/** @typedef {import("./types.js").State} State */
/** @typedef {import("./types.js").PresetPortrait} PresetPortrait */
/** @typedef {import("./keep.js").KeptView & {image: string}} View */
/** @typedef {Omit<import("./keep.js").Kept, "views"> & {image: string, views: View[]}} Own  image: where the browser has it */

/** @typedef {"taken" | "refused" | "unreached" | "lost"} Outcome  lost: the session or the portrait is not there any more */

const PATIENCE_MS = 20000;
/** Before what a busy server refused is tried again, seconds. */
const [SOON_S, LATEST_S] = [1, 30];

const LOST_ADDING = "The connection was lost meanwhile: add the view again.";
const BACK = "But this browser could not store that: after a reload it is back; remove it again then.";

/** @param {Own} own @returns {import("./keep.js").Kept} */
function stored({ key, title, picture, at, views }) {
  return { key, title, picture, at, ...(views.length ? { views: views.map((view) => ({ key: view.key, picture: view.picture })) } : {}) };
}

function newKey() { return `kept-${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 10)}`; }

/** Events: "own" with true where the portrait that is chosen is one of the user's. */
export class Portraits extends EventTarget {
  /** @type {Own[]} */ #own = [];
  /** @type {Portrait[]} what the session has */ #listed = [];
  /** @type {Map<string, string>} key of an own picture, also of one that is forgotten: its id in this session */ #served = new Map();
  /** @type {State | null} */ #state = null;
  /** @type {string | null} asked for and not shown yet: an id, or the key of an own picture */ #asked = null;
  /** @type {string | null} */ #announce = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  /** @type {Map<string, string>} pictures of presets: their ids in this session */ #worn = new Map();
  #loaded;
  /** @type {Map<string, string>} key of a view: its id in this session */ #servedViews = new Map();
  /** @type {Set<string>} keys of views that are on their way */ #bringing = new Set();
  /** @type {Map<string, View>} new ones, which no session has taken yet, by their portrait's key */ #coming = new Map();
  /** @type {Map<string, string>} key of a view: why the session does not have it */ #lacking = new Map();
  /** @type {Set<string>} keys of pictures that were deleted on this page: what is under way does not bring them back */ #gone = new Set();
  /** How many views the server takes of a portrait. */ #mostViews = 0;
  #row = new ViewsRow();

  /**
   * @param {HTMLElement} root @param {import("./connection.js").Connection} connection
   * @param {import("./wishes.js").Wishes} wishes
   */
  constructor(root, connection, wishes) {
    super();
    this.connection = connection;
    this.wishes = wishes;
    this.gallery = new Gallery(root);
    this.gallery.addEventListener("choose", (event) => void this.#choose(/** @type {CustomEvent<string>} */ (event).detail));
    this.#row.addEventListener("remove", (event) => void this.#removeView(/** @type {CustomEvent<string>} */ (event).detail));
    this.#row.addEventListener("left", () => this.gallery.focus());
    this.#loaded = this.#load();
  }

  async #load() {
    const all = (await kept()).filter(({ key }) => !this.#gone.has(key));
    for (const { image, views } of this.#own) for (const address of [image, ...views.map((view) => view.image)]) URL.revokeObjectURL(address);
    /** @template {{picture: Blob}} T @param {T} one */
    const shown = (one) => ({ ...one, image: URL.createObjectURL(one.picture) });
    this.#own = all.map((own) => ({ ...shown(own), views: (own.views ?? []).map(shown) }));
    this.#list();
  }

  /** @param {string | null} key */
  #find(key) { return this.#own.find((own) => own.key === key); }

  /** What the server is asked for when a session is opened: a portrait of its own, or nothing. */
  async fromServer() {
    await this.#loaded;
    return this.#find(this.wishes.portrait) ? null : this.wishes.portrait;
  }

  #list() {
    const served = new Set(this.#served.values());
    this.gallery.show([
      ...this.#listed.filter(({ id }) => !served.has(id)).map(({ id, title, image }) => ({ id, title, image })),
      ...this.#own.map(({ key, title, image }) => ({ id: key, title, image })),
    ]);
  }

  /** A new session: it has to be brought what was chosen. @param {import("./types.js").Hello} hello */
  async begin(hello) {
    only(hello.session);
    await this.#loaded;
    this.#served.clear();
    this.#servedViews.clear();
    this.#bringing.clear();
    this.#lacking.clear();
    this.#worn.clear();
    this.#asked = null;
    this.#mostViews = hello.views;
    this.#listed = hello.portraits;
    this.#list();
    const wish = this.wishes.portrait;
    if (hello.panel || wish === null) { this.state(hello.state); return; }
    const own = this.#find(wish);
    if (!own && !hello.portraits.some(({ id }) => id === wish)) {
      this.wishes.set({ portrait: null });
      this.state(hello.state);
      return;
    }
    this.#ask(wish);
    if (hello.state.portrait !== wish || hello.state.preparing) cover("portrait", "Getting your portrait back");
    this.state(hello.state);
    if (own) await this.#bring(own);
    else if (hello.state.portrait !== wish && !hello.state.preparing) this.connection.send({ type: "portrait", id: wish });
  }

  /** @param {Portrait[]} portraits */
  listed(portraits) {
    this.#listed = portraits;
    this.#list();
  }

  /** @param {State} state */
  state(state) {
    this.#state = state;
    this.#settle();
  }

  /** @param {string} id */
  #ask(id) {
    this.#asked = id;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#giveUp(), PATIENCE_MS);
  }

  /** The server could not follow. */
  refused() {
    if (this.#asked === null) return;
    this.#served.delete(this.#asked);
    this.#giveUp();
  }

  /** It was refused, or nothing was heard of it: show what there is. */
  #giveUp() {
    this.#asked = this.#announce = null;
    this.#settle();
  }

  /** Show which portrait there is, and which is on its way. */
  #settle() {
    const state = this.#state;
    if (!state) return;
    const shown = [...this.#served].find(([, id]) => id === state.portrait)?.[0] ?? state.portrait;
    if (shown === this.#asked && !state.preparing) {
      clearTimeout(this.#timer);
      this.#asked = null;
      if (this.#announce === shown) say("This is your avatar now.", "note");
      this.#announce = null;
    }
    if (this.#asked === null) cover("portrait", "");
    this.gallery.choose(this.#asked ?? shown, this.#asked !== null || state.preparing);
    const own = this.#find(this.#asked ?? shown);
    this.#row.show(own ? this.#thumbs(own) : null, this.#mostViews, this.#bringing);
    this.dispatchEvent(new CustomEvent("own", { detail: own !== undefined }));
  }

  /** @param {Own} own @returns {import("./views.js").Thumb[]} */
  #thumbs(own) {
    const coming = this.#coming.get(own.key);
    return [...own.views, ...(coming ? [coming] : [])].map(({ key, image }) => ({ key, image, lacking: this.#lacking.get(key) ?? "" }));
  }

  /** @param {string} id */
  async #choose(id) {
    this.wishes.set({ portrait: id });
    this.#ask(id);
    this.#settle();
    const own = this.#find(id);
    const served = this.#served.get(id);
    if (own && !this.#listed.some((portrait) => portrait.id === served)) { await this.#bring(own); return; } // where it made room for others, again
    this.connection.send({ type: "portrait", id: served ?? id });
    if (own) await this.#bringViews(own.key);
  }

  /** Bring a picture to the session. @param {Own} own @returns {Promise<boolean>} */
  async #bring(own) {
    const session = this.connection.session;
    if (!session) { this.#giveUp(); return false; }
    try {
      const portrait = await upload(session, own.picture, own.title);
      if (session !== this.connection.session) return false;
      if (this.#gone.has(own.key)) { await forgetPortrait(session, portrait.id).catch(() => {}); return false; }
      this.#served.set(own.key, portrait.id);
      this.#listed = [...this.#listed.filter(({ id }) => id !== portrait.id), portrait];
      for (const { key } of own.views) this.#servedViews.delete(key);
      this.#list();
      this.#settle();
      void this.#bringViews(own.key);
      return true;
    } catch (error) {
      if (session === this.connection.session && !this.#gone.has(own.key)) {
        say(error instanceof Refused ? error.message : "That picture could not be used.");
        this.#giveUp();
      }
      return false;
    }
  }

  /** Bring the views of a portrait that the session has, as long as it is chosen. @param {string} key */
  async #bringViews(key) {
    const { session } = this.connection;
    let unreached = "";
    if (!this.#mostViews) return; // none is used: the row says so
    for (const [index, { key: wanted }] of (this.#find(key)?.views ?? []).entries()) {
      if (session !== this.connection.session || this.wishes.portrait !== key) return;
      const view = this.#find(key)?.views.find((each) => each.key === wanted);
      if (!view || this.#servedViews.has(wanted) || this.#bringing.has(wanted)) continue;
      if (index >= this.#mostViews) this.#lacking.set(wanted, "This server takes no more of them.");
      else if (unreached) this.#lacking.set(wanted, unreached);
      else if ((await this.#bringView(key, view)) === "unreached") unreached = this.#lacking.get(wanted) ?? "";
    }
    this.#settle();
  }

  /** @param {string} key  of the portrait @param {View} view @returns {Promise<Outcome>} */
  async #bringView(key, view) {
    const { session } = this.connection;
    const there = () => session === this.connection.session && this.#find(key) !== undefined;
    this.#bringing.add(view.key);
    this.#lacking.delete(view.key);
    this.#settle();
    try {
      const id = await this.#uploaded(key, view.picture, there);
      if (!there() || id === null) return "lost";
      this.#servedViews.set(view.key, id);
      return "taken";
    } catch (error) {
      if (!there()) return "lost";
      this.#lacking.set(view.key, error instanceof Refused ? error.message : "That view could not be used.");
      return error instanceof Refused && error.status === 0 ? "unreached" : "refused";
    } finally {
      if (session === this.connection.session) this.#bringing.delete(view.key);
      this.#settle();
    }
  }

  /**
   * A view, once more where the server was busy. Throws Refused.
   * @param {string} key  of its portrait @param {Blob} picture @param {() => boolean} there  it is still wanted
   * @returns {Promise<string | null>} its id, null where there is no place for it any more
   */
  async #uploaded(key, picture, there) {
    for (const last of [false, true]) {
      const [session, portrait] = [this.connection.session, this.#served.get(key)];
      if (!there() || !session || !portrait) return null;
      try {
        return (await uploadView(session, portrait, picture)).views.at(-1) ?? "";
      } catch (error) {
        if (last || !(error instanceof Refused && error.status === 503)) throw error;
        const seconds = Math.min(LATEST_S, error.retryAfter || SOON_S);
        await new Promise((resolve) => { setTimeout(resolve, 1000 * seconds); });
      }
    }
    return null;
  }

  /** Another picture of the person of the portrait that is chosen. @param {Blob} picture */
  async addView(picture) {
    const key = this.#find(this.wishes.portrait)?.key;
    const { session } = this.connection;
    if (!key || !session || !this.#served.has(key) || this.#coming.has(key)) { say("Wait until the portrait is shown."); return; }
    const part = await this.#edited(session, picture, false, true);
    if (!part || !this.#find(key)) return;
    if (session !== this.connection.session) { say(LOST_ADDING); return; }
    say("Preparing the view", "busy");
    const view = { key: newKey(), picture: part, image: URL.createObjectURL(part) };
    this.#coming.set(key, view);
    const outcome = await this.#bringView(key, view);
    this.#coming.delete(key);
    URL.revokeObjectURL(view.image);
    if (outcome === "taken") {
      const lasting = await update(key, (now) => ({ ...now, views: [...(now.views ?? []), { key: view.key, picture: part }] }));
      if (lasting !== "absent") say("The view is added: the head is shown from it where it comes nearest.", "note");
      else say("");
    } else if (session !== this.connection.session) say(LOST_ADDING);
    else say(this.#lacking.get(view.key) ?? ""); // nothing of a portrait that was deleted meanwhile
    this.#lacking.delete(view.key);
    await this.#load();
    this.#settle();
  }

  /** @param {string} key */
  async #removeView(key) {
    const own = this.#own.find(({ views }) => views.some((view) => view.key === key));
    if (!own) return;
    const [session, portrait, id] = [this.connection.session, this.#served.get(own.key), this.#servedViews.get(key)];
    this.#bringing.add(key);
    this.#settle();
    /** @type {unknown} */
    let trouble = null;
    try {
      if (session && portrait && id) await forgetView(session, portrait, id);
    } catch (error) {
      if (!(error instanceof Refused && error.status === 404)) trouble = error; // what is not there is gone
    }
    if (session !== this.connection.session) { say("The connection was lost meanwhile: remove the view again."); return; }
    this.#bringing.delete(key);
    this.#settle();
    if (trouble) {
      if (this.#find(own.key)) say(trouble instanceof Refused ? trouble.message : "The view could not be removed.");
      return;
    }
    this.#servedViews.delete(key);
    this.#lacking.delete(key);
    const lasting = await update(own.key, (now) => ({ ...now, views: (now.views ?? []).filter((view) => view.key !== key) }));
    await this.#load();
    this.#settle();
    if (lasting === "done") say("The view is removed, here and on the server.", "note");
    else if (lasting === "page") say(`The view is removed. ${BACK}`);
  }

  /**
   * The part of a picture that the user wants, null where he would not, or it cannot be used.
   * @param {string} session @param {Blob} picture @param {boolean} consented @param {boolean} [view]
   */
  async #edited(session, picture, consented, view = false) {
    say("");
    try {
      return await edit(picture, (part) => look(session, part), consented, view);
    } catch (error) {
      say(error instanceof Refused ? error.message : "That picture could not be used.");
      return null;
    }
  }

  /**
   * A new picture of the user's. @param {Blob} picture @param {string} title @param {Own} [old]  that it takes the place of
   * @param {boolean} [announced]  that it is shown is said here, not by the caller
   * @returns {Promise<boolean>} it is shown
   */
  async add(picture, title, old, announced = true) {
    const { session } = this.connection;
    if (!session) { say("Wait until the avatar is live."); return false; }
    const portrait = await this.#edited(session, picture, old !== undefined);
    if (!portrait) return false;
    say("Preparing the portrait", "busy");
    const own = { key: newKey(), title, picture: portrait, at: Date.now(), image: URL.createObjectURL(portrait), views: (old?.views ?? []).map((view) => ({ ...view, key: newKey() })) };
    const before = this.wishes.portrait;
    this.#own.push(own);
    this.wishes.set({ portrait: own.key });
    if (announced) this.#announce = own.key;
    this.#ask(own.key);
    this.#list();
    this.#settle();
    const brought = await this.#bring(own) && await this.#keep(own, old);
    if (!brought && this.wishes.portrait === own.key) this.wishes.set({ portrait: before });
    await this.#load();
    this.#settle();
    return brought;
  }

  /**
   * Keep a picture that the session has taken, unless it was deleted meanwhile, on whatever page.
   * @param {Own} own @param {Own} [old]  that it takes the place of @returns {Promise<boolean>}
   */
  async #keep(own, old) {
    if (!old) await keep(stored(own));
    else if ((await update(old.key, () => stored(own))) === "absent") {
      await this.#forget(own);
      say("That picture was deleted meanwhile.");
      return false;
    } else await this.#forget(old);
    if (!this.#gone.has(own.key)) return true;
    await forget(own.key); // it was deleted while it was being kept
    return false;
  }

  /** The portrait that is chosen, for a preset. @param {boolean} panel  the machine keeps it, and knows it by its id @returns {PresetPortrait | null} */
  worn(panel) {
    const shown = this.#state?.portrait ?? "";
    const key = this.#asked ?? [...this.#served].find(([, id]) => id === shown)?.[0] ?? shown;
    const own = this.#find(key);
    if (own && !panel) return { key: own.key, title: own.title };
    const id = this.#served.get(key) ?? key;
    return id ? { id } : null;
  }

  /** A picture of the user's, as a file takes it; null where it is deleted. @param {string} key @returns {Promise<PresetPortrait | null>} */
  async picture(key) {
    const own = this.#find(key);
    if (!own) return null;
    return new Promise((resolve, reject) => {
      const reader = new FileReader();
      reader.onload = () => resolve({ picture: String(reader.result), title: own.title.slice(0, 60) });
      reader.onerror = () => reject(reader.error);
      reader.readAsDataURL(own.picture);
    });
  }

  /** Has it other views, which no file takes? @param {string} key */
  hasViews(key) { return Boolean(this.#find(key)?.views.length); }

  /** Show the portrait of a preset. @param {PresetPortrait | null} portrait @returns {Promise<string>} what is the matter, "" where nothing is */
  async wear(portrait) {
    const { session } = this.connection;
    if (!portrait || !session) return "";
    if (portrait.picture) {
      const shown = this.#worn.get(portrait.picture) ?? (await upload(session, decoded(portrait.picture), portrait.title ?? "Preset")).id;
      const again = this.#worn.has(portrait.picture);
      this.#worn.set(portrait.picture, shown);
      if (again) this.connection.send({ type: "portrait", id: shown });
      return "";
    }
    const wanted = portrait.key ?? portrait.id ?? "";
    if (portrait.key ? !this.#find(wanted) : !this.#listed.some(({ id }) => id === wanted))
      return portrait.key ? "The preset's picture was deleted; all else of it is on." : "The preset's portrait is not on this server; all else of it is on.";
    await this.#choose(wanted);
    return "";
  }

  /** Crop or turn the portrait that is chosen. */
  async change() {
    const own = this.#find(this.wishes.portrait);
    if (own) await this.add(own.picture, own.title, own);
  }

  /**
   * Forget a picture, here and on the server.
   * @param {Own} own @returns {Promise<{lasting: import("./keep.js").Lasting, trouble: string}>} trouble: why the server has it still
   */
  async #forget(own) {
    const [id, session] = [this.#served.get(own.key), this.connection.session];
    this.#gone.add(own.key);
    this.#own = this.#own.filter(({ key }) => key !== own.key);
    this.#list();
    if (this.#asked === own.key) this.#giveUp();
    const lasting = await forget(own.key);
    let trouble = "";
    try {
      if (id && session) await forgetPortrait(session, id);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (error.status !== 404) trouble = error.message; // what is not there is forgotten
    }
    // it stays among what was served: the server's word of it may still be on its way, and it would be listed as the server's
    return { lasting, trouble };
  }

  /** Forget the portrait that is chosen, here and on the server. */
  async remove() {
    const own = this.#find(this.wishes.portrait);
    if (!own) return;
    this.wishes.set({ portrait: null });
    say(`Deleting “${own.title}”`, "busy");
    const forgetting = this.#forget(own);
    this.#settle();
    this.gallery.focus();
    const { lasting, trouble } = await forgetting;
    if (lasting === "page") say(`“${own.title}” is deleted. ${BACK}`);
    else if (trouble) say(`“${own.title}” is deleted here. The server did not: ${trouble} It forgets the picture when this session ends.`);
    else say(`“${own.title}” is deleted, here and on the server.`, "note");
  }
}
