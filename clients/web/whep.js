// One connection of a viewer (WHEP): video and sound come in, nothing goes out.
// @ts-check
import { ask } from "./ask.js";
import { watchOver } from "./stall.js";

/** A server that was asked for something else may need a moment; pictures come within this time or never. */
const ANSWER_MS = 10000;

/**
 * Watch until the connection is over. Throws Refused where the server does not let us.
 * @param {string} address @param {(track: MediaStreamTrack) => void} took @param {AbortSignal} signal
 * @param {() => Promise<boolean>} there  see watchOver
 */
export async function watch(address, took, signal, there) {
  const pc = new RTCPeerConnection();
  /** @type {string | null} */
  let resource = null;
  try {
    pc.addTransceiver("video", { direction: "recvonly" });
    pc.addTransceiver("audio", { direction: "recvonly" });
    pc.addEventListener("track", (event) => took(event.track));
    await pc.setLocalDescription(await pc.createOffer());
    const response = await ask(address, {
      method: "POST", headers: { "Content-Type": "application/sdp" }, body: pc.localDescription?.sdp ?? "", signal,
    });
    resource = response.headers.get("Location");
    await pc.setRemoteDescription({ type: "answer", sdp: await response.text() });
    await new Promise((resolve) => {
      signal.addEventListener("abort", resolve);
      void watchOver(pc, there, () => resolve(undefined));
      setTimeout(() => { if (pc.connectionState !== "connected") resolve(undefined); }, ANSWER_MS);
      pc.addEventListener("connectionstatechange", () => {
        if (["failed", "closed", "disconnected"].includes(pc.connectionState)) resolve(undefined);
      });
    });
  } finally {
    pc.close();
    if (resource) void fetch(resource, { method: "DELETE", keepalive: true }).catch(() => {});
  }
}
