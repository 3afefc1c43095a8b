// What the page says: a line below the avatar, and a veil over it while there is nothing to see.
// @ts-check
import { get } from "./elements.js";

const NOTE_MS = 4000;
const message = get("message", HTMLElement);
const veil = get("veil", HTMLElement);
const veilText = get("veil-text", HTMLElement);
/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;

/** @param {string} text @param {"trouble" | "note" | "busy"} [kind]  a note goes by itself */
export function say(text, kind = "trouble") {
  clearTimeout(timer);
  message.textContent = text;
  message.dataset.kind = kind;
  message.setAttribute("aria-busy", String(kind === "busy"));
  message.hidden = text === "";
  if (kind === "note") timer = setTimeout(() => { message.hidden = true; }, NOTE_MS);
}

/** Reasons for the veil, the most important first; each holds its text until it is lifted. */
const reasons = /** @type {Record<"connection" | "portrait", {text: string, busy: boolean} | null>} */ ({
  connection: { text: veilText.textContent ?? "", busy: true }, portrait: null,
});

/** @param {keyof typeof reasons} reason @param {string} text  "": lifted @param {boolean} [busy] */
export function cover(reason, text, busy = true) {
  reasons[reason] = text ? { text, busy } : null;
  const shown = reasons.connection ?? reasons.portrait;
  veil.hidden = shown === null;
  if (!shown) return;
  veil.dataset.busy = shown.busy ? "yes" : "no";
  if (veilText.textContent !== shown.text) veilText.textContent = shown.text;
}

/** Is the avatar covered? */
export function covered() { return !veil.hidden; }
