// Pictures that the user brought, kept by his browser (IndexedDB): a reload and a new session have them again.
// @ts-check
/** @typedef {{key: string, picture: Blob}} KeptView  another picture of the person */
/** @typedef {{key: string, title: string, picture: Blob, at: number, views?: KeptView[]}} Kept  at: when its bringer consented, ms */
/** @typedef {{key: string, title: string, file: Blob, at: number}} KeptBackground  a picture or a clip */

const PICTURES = "pictures";
const BACKGROUNDS = "backgrounds";
/** As many as a session of the server takes. */
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
  /** @type {Map<string, T>} for browsers that keep nothing: as long as the page lives */ #memory = new Map();

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
    try { stored = await this.#within("readonly", (store) => store.getAll()); } catch { /* nothing is kept here */ }
    return [...stored, ...this.#memory.values()].sort((a, b) => a.at - b.at);
  }

  /** @param {T} one */
  async keep(one) {
    try { await this.#within("readwrite", (store) => store.put(one)); } catch { this.#memory.set(one.key, one); }
    const all = await this.all();
    await Promise.all(all.slice(0, Math.max(0, all.length - MOST)).map(({ key }) => this.forget(key)));
  }

  /** @param {string} key */
  async forget(key) {
    this.#memory.delete(key);
    try { await this.#within("readwrite", (store) => store.delete(key)); } catch { /* it was never kept */ }
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
