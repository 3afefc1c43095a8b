// Bringing a picture to a session.
// @ts-check
/** @typedef {import("./types.js").Portrait} Portrait */
/** @typedef {import("./types.js").Look} Look */
import { ask, Refused } from "./ask.js";

/** How long the server may take for an answer, and the line for each MiB that is sent. */
const ANSWER_MS = 60000;
const MIB_MS = 20000;

/** What is asked of one session, one after the other: it has one picture in work at a time. */
class Turns {
  /** @type {Promise<unknown>} the last that was asked for, answered or not */ #last = Promise.resolve();
  #over = new AbortController();

  /** @template T @param {string} address @param {RequestInit} how @param {(answer: Response) => Promise<T> | T} read @returns {Promise<T>} */
  ask(address, how, read) {
    const answer = this.#last.then(() => inTime(address, how, read, this.#over.signal));
    this.#last = answer.catch(() => {});
    return answer;
  }

  /** The session is over: nothing of it is worth waiting for. */
  end() { this.#over.abort(); }
}

/** @type {Map<string, Turns>} by their session */
const turns = new Map();

/** A session has begun: what is still asked of others ends now. @param {string} session */
export function only(session) {
  for (const [id, each] of turns) if (id !== session) { each.end(); turns.delete(id); }
}

/** @param {string} session */
function turnsOf(session) {
  const found = turns.get(session) ?? new Turns();
  turns.set(session, found);
  return found;
}

/**
 * An answer that comes in time. Throws Refused.
 * @template T @param {string} address @param {RequestInit} how @param {(answer: Response) => Promise<T> | T} read
 * @param {AbortSignal} [over] @returns {Promise<T>}
 */
async function inTime(address, how, read, over) {
  const size = how.body instanceof Blob ? how.body.size / 2 ** 20 : 0;
  const late = AbortSignal.timeout(ANSWER_MS + MIB_MS * size);
  const stop = new AbortController();
  if (over?.aborted) stop.abort();
  for (const signal of [late, over]) signal?.addEventListener("abort", () => stop.abort());
  try {
    return await read(await ask(address, { ...how, signal: stop.signal }));
  } catch (error) {
    if (over?.aborted) throw new Refused(0, "The connection was lost meanwhile: try again.");
    if (late.aborted) throw new Refused(0, "The server did not answer in time: try again.");
    throw error;
  }
}

/** @param {string} session @param {string} path  beneath the session's address @param {Blob} picture @returns {Promise<any>} */
async function post(session, path, picture) {
  const type = /^(image|video)\//.test(picture.type) ? picture.type : "application/octet-stream"; // not all browsers know all kinds
  const how = { method: "POST", headers: { "Content-Type": type }, body: picture };
  return turnsOf(session).ask(`/api/sessions/${session}/${path}`, how, (answer) => answer.json());
}

/** What is in a picture; any that the server can read. @param {string} session @param {Blob} picture @returns {Promise<Look>} */
export async function look(session, picture) {
  return post(session, "look", picture);
}

/** @param {string} session @param {Blob} picture @param {string} title @returns {Promise<Portrait>} */
export async function upload(session, picture, title) {
  return post(session, `portraits?consent=true&title=${encodeURIComponent(title.slice(0, 60))}`, picture);
}

/** Another picture of a portrait's person. @param {string} session @param {string} portrait @param {Blob} picture @returns {Promise<Portrait>} */
export async function uploadView(session, portrait, picture) {
  return post(session, `portraits/${encodeURIComponent(portrait)}/views?consent=true`, picture);
}

/** @param {string} session @param {string} portrait @param {string} view */
export async function forgetView(session, portrait, view) {
  const address = `/api/sessions/${session}/portraits/${encodeURIComponent(portrait)}/views/${encodeURIComponent(view)}`;
  await turnsOf(session).ask(address, { method: "DELETE" }, () => {});
}

/** It waits for no turn: what else is asked of the portrait is worth nothing any more. @param {string} session @param {string} portrait */
export async function forgetPortrait(session, portrait) {
  await inTime(`/api/sessions/${session}/portraits/${encodeURIComponent(portrait)}`, { method: "DELETE" }, () => {});
}

/** What lies behind the portrait from now on. @param {string} session @param {Blob} file @returns {Promise<{moving: boolean, seconds: number, cut: boolean}>} */
export async function uploadBackground(session, file) {
  return post(session, "background", file);
}

/** @param {HTMLCanvasElement} canvas @returns {Promise<Blob>} */
export function jpeg(canvas) {
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("no picture"))), "image/jpeg", 0.92);
  });
}

/** The picture in a data: address. (The page may not fetch one.) @param {string} address */
export function decoded(address) {
  const [head = "", data = ""] = address.split(",");
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  return new Blob([bytes], { type: /^data:([^;]+)/.exec(head)?.[1] ?? "image/jpeg" });
}

/** Save something with the user's downloads. @param {Blob} content @param {string} name */
export function download(content, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
