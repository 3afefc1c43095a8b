// Pictures that the user brought, kept by his browser (IndexedDB): a reload and a new session have them again.
// @ts-check
/** @typedef {{key: string, picture: Blob}} KeptView  another picture of the person */
/** @typedef {{key: string, title: string, picture: Blob, at: number, views?: KeptView[]}} Kept  at: when its bringer consented, ms */
/** @typedef {{key: string, title: string, file: Blob, at: number}} KeptBackground  a picture or a clip */

const PICTURES = "pictures";
const BACKGROUNDS = "backgrounds";
/** @typedef {"done" | "page" | "absent"} Lasting  page: the browser would not store it, and has what was before after a reload; absent: there is no such record */

/** Of each kind, the oldest leave. Views are kept with their picture and do not count. */
const MOST = 12;

/** @returns {Promise<IDBDatabase>} */
function open() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open("avatar", 2);
    request.onupgradeneeded = () => {
      for (const name of [PICTURES, BACKGROUNDS])
        if (!request.result.objectStoreNames.contains(name)) request.result.createObjectStore(name, { keyPath: "key" });
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error("blocked"));
  });
}

/**
 * What is kept of one kind.
 * @template {{key: string, at: number}} T
 */
class Store {
  /** @type {Map<string, T | null>} what the browser would not store, as long as the page lives; null: forgotten */ #memory = new Map();
  /** @type {Set<string>} keys of those that the browser stores */ #stored = new Set();

  /** @param {string} name */
  constructor(name) { this.name = name; }

  /**
   * @template R @param {IDBTransactionMode} mode @param {(store: IDBObjectStore) => IDBRequest<R>} act
   * @returns {Promise<R>}
   */
  async #within(mode, act) {
    const database = await open();
    try {
      return await new Promise((resolve, reject) => {
        const transaction = database.transaction(this.name, mode);
        const request = act(transaction.objectStore(this.name));
        transaction.oncomplete = () => resolve(request.result);
        transaction.onerror = transaction.onabort = () => reject(transaction.error);
      });
    } finally {
      database.close();
    }
  }

  /** All of them, the oldest first. @returns {Promise<T[]>} */
  async all() {
    /** @type {T[]} */
    let stored = [];
    try {
      stored = await this.#within("readonly", (store) => store.getAll());
      this.#stored = new Set(stored.map(({ key }) => key));
    } catch { /* nothing is kept here */ }
    const all = new Map(stored.map((one) => [one.key, one]));
    for (const [key, one] of this.#memory) { if (one) all.set(key, one); else all.delete(key); }
    return [...all.values()].sort((a, b) => a.at - b.at);
  }

  /** @param {T} one */
  async keep(one) {
    try {
      await this.#within("readwrite", (store) => store.put(one));
      this.#memory.delete(one.key);
    } catch { this.#memory.set(one.key, one); }
    const all = await this.all();
    await Promise.all(all.slice(0, Math.max(0, all.length - MOST)).map(({ key }) => this.forget(key)));
  }

  /**
   * Change one that is still kept, as it is now: what another page of the user's did meanwhile counts. One that is
   * kept no longer does not come back.
   * @param {string} key @param {(now: T) => T} change  with another key it makes a record beside this one
   * @returns {Promise<Lasting>}
   */
  async update(key, change) {
    const mine = this.#memory.get(key);
    if (mine === null) return "absent";
    /** @type {T | undefined} */
    let changed;
    try {
      await this.#within("readwrite", (store) => {
        const request = store.get(key);
        request.onsuccess = () => {
          const now = mine ?? /** @type {T | undefined} */ (request.result);
          if (now) store.put(changed = change(now));
        };
        return request;
      });
      if (!changed) return "absent";
      this.#memory.delete(changed.key);
      this.#stored.add(changed.key);
      return "done";
    } catch {
      const now = (await this.all()).find((one) => one.key === key);
      if (!now) return "absent";
      changed = change(now);
      this.#memory.set(changed.key, changed);
      return this.#stored.has(key) ? "page" : "done";
    }
  }

  /** @param {string} key @returns {Promise<Lasting>} */
  async forget(key) {
    try {
      await this.#within("readwrite", (store) => store.delete(key));
    } catch {
      if (this.#stored.has(key)) { this.#memory.set(key, null); return "page"; }
    }
    this.#memory.delete(key);
    return "done";
  }
}

/** @type {Store<Kept>} */
const pictures = new Store(PICTURES);
/** @type {Store<KeptBackground>} */
const behind = new Store(BACKGROUNDS);

/** All pictures, the oldest first. */
export function kept() { return pictures.all(); }
/** @param {Kept} picture */
export function keep(picture) { return pictures.keep(picture); }
/** @param {string} key @param {(now: Kept) => Kept} change */
export function update(key, change) { return pictures.update(key, change); }
/** @param {string} key */
export function forget(key) { return pictures.forget(key); }
/** All backgrounds, the oldest first. */
export function backgrounds() { return behind.all(); }
/** @param {KeptBackground} background */
export function keepBackground(background) { return behind.keep(background); }
/** Forget all but those named. @param {Set<string>} keys */
export async function keepOnly(keys) {
  for (const { key } of await behind.all()) if (!keys.has(key)) await behind.forget(key);
}
