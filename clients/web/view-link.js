// The link to a clean view, for streaming programs. It comes from a secret that this browser keeps, so that it stays
// the same when the page is opened again.
// @ts-check
import { ask, Refused } from "./ask.js";
import { get } from "./elements.js";
import { say } from "./notices.js";
import { storage } from "./wishes.js";

const PLACE = "avatar.profile";
const background = get("view-background", HTMLSelectElement);
const open = get("open-view", HTMLAnchorElement);
const copy = get("copy-view", HTMLButtonElement);
const renew = get("renew-view", HTMLButtonElement);

/** For a browser that keeps nothing. @type {string | null} */
let unkept = null;

/** 24 random bytes as base64url. */
function secret() {
  const bytes = crypto.getRandomValues(new Uint8Array(24));
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_");
}

/** @param {string} value */
function store(value) {
  unkept = value;
  try { storage()?.setItem(PLACE, value); } catch { /* full */ }
  return value;
}

/** The secret of this browser. It is in no link, and none can be told from a link. */
export function profile() {
  const kept = storage()?.getItem(PLACE) ?? unkept;
  return kept && /^[\w-]{22,64}$/.test(kept) ? kept : store(secret());
}

/** The buttons, and what to call with the path of the view of a session ("": it has none). @param {import("./connection.js").Connection} connection */
export function wireView(connection) {
  let path = "";
  const address = () => new URL(`${path}${background.value ? `?background=${background.value}` : ""}`, location.href).href;
  const refresh = () => {
    if (path) open.href = address(); else open.removeAttribute("href");
    copy.disabled = renew.disabled = !path;
  };
  background.addEventListener("change", refresh);
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(address());
      say("The link is copied.", "note");
    } catch {
      say(`Copy this link: ${address()}`, "note");
    }
  });
  renew.addEventListener("click", async () => {
    const fresh = secret();
    try {
      const response = await ask(`/api/sessions/${connection.session}/links`, {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ profile: fresh }),
      });
      store(fresh);
      path = `/view/${(await response.json()).view}`;
      refresh();
      say("There is a new link; the old one shows nothing any more.", "note");
    } catch (error) {
      say(error instanceof Refused ? error.message : "The link could not be renewed.");
    }
  });
  return (/** @type {string} */ view) => {
    path = view;
    refresh();
  };
}
