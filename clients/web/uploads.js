// Bringing a picture to a session.
// @ts-check
/** @typedef {import("./types.js").Portrait} Portrait */
/** @typedef {import("./types.js").Look} Look */
import { ask } from "./ask.js";

/** @type {Promise<unknown>} the last that was asked for, answered or not */
let last = Promise.resolve();

/** Ask for something that is done with a picture, once what was asked before is answered: a session has one in work at a time. @param {string} address @param {RequestInit} how @returns {Promise<Response>} */
export function inTurn(address, how) {
  const answer = last.then(() => ask(address, how));
  last = answer.catch(() => {});
  return answer;
}

/** @param {string} address @param {Blob} picture @returns {Promise<any>} */
async function post(address, picture) {
  const type = /^(image|video)\//.test(picture.type) ? picture.type : "application/octet-stream"; // not all browsers know all kinds
  return (await inTurn(address, { method: "POST", headers: { "Content-Type": type }, body: picture })).json();
}

/** What is in a picture; any that the server can read. @param {string} session @param {Blob} picture @returns {Promise<Look>} */
export async function look(session, picture) {
  return post(`/api/sessions/${session}/look`, picture);
}

/** @param {string} session @param {Blob} picture @param {string} title @returns {Promise<Portrait>} */
export async function upload(session, picture, title) {
  return post(`/api/sessions/${session}/portraits?consent=true&title=${encodeURIComponent(title.slice(0, 60))}`, picture);
}

/** Another picture of a portrait's person. @param {string} session @param {string} portrait @param {Blob} picture @returns {Promise<Portrait>} */
export async function uploadView(session, portrait, picture) {
  return post(`/api/sessions/${session}/portraits/${encodeURIComponent(portrait)}/views?consent=true`, picture);
}

/** @param {string} session @param {string} portrait @param {string} view */
export async function forgetView(session, portrait, view) {
  await inTurn(`/api/sessions/${session}/portraits/${encodeURIComponent(portrait)}/views/${encodeURIComponent(view)}`, { method: "DELETE" });
}

/** What lies behind the portrait from now on. @param {string} session @param {Blob} file @returns {Promise<{moving: boolean, seconds: number, cut: boolean}>} */
export async function uploadBackground(session, file) {
  return post(`/api/sessions/${session}/background`, file);
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
