// A clean view of one session for a streaming program: WHEP, and the background taken out where asked.
// @ts-check
import { Backoff } from "./backoff.js";
import { key } from "./keying.js";

const id = location.pathname.split("/").pop() ?? "";
const background = new URLSearchParams(location.search).get("background") ?? "";
const video = /** @type {HTMLVideoElement} */ (document.getElementById("avatar"));
const canvas = /** @type {HTMLCanvasElement} */ (document.getElementById("keyed"));
const sound = new Audio();
const backoff = new Backoff();
/** @type {string | null} */
let resource = null;

async function chooseBackground() {
  /** @type {Record<string, string>} */
  const asked = { transparent: "green", green: "green", blur: "blur" };
  if (!asked[background]) return;
  await fetch(`/api/sessions/${id}/control`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ type: "background", background: asked[background] }),
  });
}

async function watch() {
  const pc = new RTCPeerConnection();
  pc.addTransceiver("video", { direction: "recvonly" });
  pc.addTransceiver("audio", { direction: "recvonly" });
  pc.addEventListener("track", (event) => {
    if (event.track.kind === "video") video.srcObject = new MediaStream([event.track]);
    else {
      sound.srcObject = new MediaStream([event.track]);
      void sound.play().catch(() => {}); // a plain browser wants a click first; streaming programs do not
    }
  });
  await pc.setLocalDescription(await pc.createOffer());
  const response = await fetch(`/whep/${id}`, {
    method: "POST", headers: { "Content-Type": "application/sdp" }, body: pc.localDescription?.sdp,
  });
  if (!response.ok) { pc.close(); throw new Error(String(response.status)); }
  resource = response.headers.get("Location");
  await pc.setRemoteDescription({ type: "answer", sdp: await response.text() });
  await new Promise((resolve) => {
    pc.addEventListener("connectionstatechange", () => {
      if (pc.connectionState === "connected") backoff.reset();
      if (["failed", "closed", "disconnected"].includes(pc.connectionState)) resolve(undefined);
    });
  });
  pc.close();
}

addEventListener("pagehide", () => { if (resource) void fetch(resource, { method: "DELETE", keepalive: true }); });

async function keep() {
  for (;;) {
    try {
      await chooseBackground();
      await watch();
    } catch { /* not there yet, or gone: try again below */ }
    await new Promise((resolve) => { setTimeout(resolve, 1000 * backoff.next()); });
  }
}

if (background === "transparent" && key(video, canvas)) {
  canvas.hidden = false;
  video.className = "source"; // not hidden: a video that is not shown is not decoded
}
void keep();
