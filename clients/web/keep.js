// Pictures that the user brought, kept by his browser (IndexedDB): a reload and a new session have them again.
// @ts-check
/** @typedef {{key: string, title: string, picture: Blob, at: number}} Kept  at: when its bringer consented, ms */

const STORE = "pictures";
/** As many as a session of the server takes. */
const MOST = 12;
/** @type {Map<string, Kept>} for browsers that keep nothing: as long as the page lives */
const memory = new Map();

/** @returns {Promise<IDBDatabase>} */
function open() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open("avatar", 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "key" });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error("blocked"));
  });
}

/**
 * @template T @param {IDBTransactionMode} mode @param {(store: IDBObjectStore) => IDBRequest<T>} act
 * @returns {Promise<T>}
 */
async function within(mode, act) {
  const database = await open();
  try {
    return await new Promise((resolve, reject) => {
      const transaction = database.transaction(STORE, mode);
      const request = act(transaction.objectStore(STORE));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onerror = transaction.onabort = () => reject(transaction.error);
    });
  } finally {
    database.close();
  }
}

/** All of them, the oldest first. @returns {Promise<Kept[]>} */
export async function kept() {
  /** @type {Kept[]} */
  let stored = [];
  try { stored = await within("readonly", (store) => store.getAll()); } catch { /* nothing is kept here */ }
  return [...stored, ...memory.values()].sort((a, b) => a.at - b.at);
}

/** @param {Kept} picture */
export async function keep(picture) {
  try { await within("readwrite", (store) => store.put(picture)); } catch { memory.set(picture.key, picture); }
  const all = await kept();
  await Promise.all(all.slice(0, Math.max(0, all.length - MOST)).map(({ key }) => forget(key)));
}

/** @param {string} key */
export async function forget(key) {
  memory.delete(key);
  try { await within("readwrite", (store) => store.delete(key)); } catch { /* it was never kept */ }
}
