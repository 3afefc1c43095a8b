// A clean view of one avatar for a streaming program. Its link stays the same when the page is opened again: until
// then it keeps the last picture, says in small words that it waits, and comes back by itself. A link that was
// withdrawn shows nothing any more, and says so.
// @ts-check
import { ask, Refused } from "./ask.js";
import { get } from "./elements.js";
import { key } from "./keying.js";
import { watch } from "./whep.js";

const AGAIN_MS = 1500;
const COPY_MS = 1000;
const id = location.pathname.split("/").pop() ?? "";
const background = new URLSearchParams(location.search).get("background") ?? "";
const video = get("avatar", HTMLVideoElement);
const keyed = get("keyed", HTMLCanvasElement);
const still = get("still", HTMLCanvasElement);
const word = get("word", HTMLElement);
const sound = new Audio();
const leaving = new AbortController();

/** @param {string} text */
function say(text) {
  if (word.textContent !== text) word.textContent = text;
  word.hidden = text === "";
}

let copied = 0;

/** Copy what is seen, where it is new. In good time: a video whose stream has ended is black. */
function copy() {
  const shown = video.getVideoPlaybackQuality().totalVideoFrames;
  const [seen, width, height] = keyed.hidden ? [video, video.videoWidth, video.videoHeight] : [keyed, keyed.width, keyed.height];
  if (shown === copied || !width || !still.hidden) return;
  copied = shown;
  still.width = width;
  still.height = height;
  still.getContext("2d")?.drawImage(seen, 0, 0);
}

/** Show the copy until a new picture comes. */
function hold() {
  still.hidden = copied === 0;
  keyed.style.visibility = "hidden";
}

/** @param {MediaStreamTrack} track */
function took(track) {
  if (track.kind === "video") video.srcObject = new MediaStream([track]);
  else {
    sound.srcObject = new MediaStream([track]);
    void sound.play().catch(() => {}); // a plain browser wants a click first; streaming programs do not
  }
}

/** Nothing is shown any more, not even what was seen last. */
function drop() {
  copied = 0;
  video.srcObject = sound.srcObject = null;
  for (const seen of [video, keyed, still]) seen.hidden = true;
  still.width = still.height = 0;
  say("This link no longer works. Copy the new one from the avatar's page.");
}

/** What stands behind the link. @returns {Promise<{live: boolean, dead: boolean}>} */
async function behind() {
  return (await ask(`/api/views/${encodeURIComponent(id)}`)).json();
}

async function keep() {
  const asked = { transparent: "green", green: "green", blur: "blur", original: "original" }[background];
  const address = `/whep/${encodeURIComponent(id)}${asked ? `?background=${asked}` : ""}`;
  if (!("RTCPeerConnection" in window)) { say("This program knows no WebRTC, which the view needs."); return; }
  for (;;) {
    /** @type {string} */
    let missing;
    try {
      const { live, dead } = await behind();
      if (dead) { drop(); return; }
      missing = live ? "" : "Waiting for the avatar";
      if (live) await watch(address, took, leaving.signal, () => behind().then(({ live }) => live, () => false));
      hold();
    } catch (error) {
      hold();
      missing = error instanceof Refused && error.status !== 404 ? error.message : "Waiting for the avatar";
    }
    say(missing || "Connecting again");
    await new Promise((resolve) => { setTimeout(resolve, missing ? AGAIN_MS : 300); });
  }
}

video.addEventListener("playing", () => {
  still.hidden = true;
  keyed.style.visibility = "";
  say("");
});
setInterval(copy, COPY_MS);
addEventListener("pagehide", () => leaving.abort());
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
if (background === "transparent" && key(video, keyed)) {
  keyed.hidden = false;
  video.className = "source"; // not hidden: a video that is not shown is not decoded
}
void keep();
