// Bringing a picture to a session.
// @ts-check
/** @typedef {import("./types.js").Portrait} Portrait */
/** @typedef {import("./types.js").Look} Look */
import { ask } from "./ask.js";

/** @param {string} address @param {Blob} picture @returns {Promise<any>} */
async function post(address, picture) {
  const type = /^(image|video)\//.test(picture.type) ? picture.type : "application/octet-stream"; // not all browsers know all kinds
  return (await ask(address, { method: "POST", headers: { "Content-Type": type }, body: picture })).json();
}

/** What is in a picture; any that the server can read. @param {string} session @param {Blob} picture @returns {Promise<Look>} */
export async function look(session, picture) {
  return post(`/api/sessions/${session}/look`, picture);
}

/** @param {string} session @param {Blob} picture @param {string} title @returns {Promise<Portrait>} */
export async function upload(session, picture, title) {
  return post(`/api/sessions/${session}/portraits?consent=true&title=${encodeURIComponent(title.slice(0, 60))}`, picture);
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
