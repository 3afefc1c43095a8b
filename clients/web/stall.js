// Does anything still come? A machine that has died says nothing, and a browser takes long to notice.
// @ts-check
import { ask, Refused } from "./ask.js";

const LOOK_MS = 500;
/** Nothing has come for so long: the server is asked. An avatar at rest may send nothing for a while. */
const QUIET_MS = 1000;

/** @param {RTCPeerConnection} pc @returns {Promise<number>} packets that have come */
async function received(pc) {
  let count = 0;
  for (const report of (await pc.getStats()).values()) if (report.type === "inbound-rtp") count += report.packetsReceived;
  return count;
}

/**
 * Watch a connection until it is closed, or what is behind it is gone.
 * @param {RTCPeerConnection} pc
 * @param {() => Promise<boolean>} there  asked while nothing comes: is what sends it still there?
 * @param {() => void} gone
 */
export async function watchOver(pc, there, gone) {
  let count = 0;
  let at = performance.now();
  const closed = () => pc.connectionState === "closed";
  for (;;) {
    await new Promise((resolve) => { setTimeout(resolve, LOOK_MS); });
    if (closed()) return;
    const now = await received(pc);
    if (now !== count || now === 0) {
      count = now;
      at = performance.now();
    } else if (performance.now() - at >= QUIET_MS && !(await there()) && !closed()) {
      gone();
      return;
    }
  }
}

/** Whether the server still knows what is at an address; where it does not say so, it may. @param {string} address */
export async function isThere(address) {
  try {
    await ask(address);
    return true;
  } catch (error) {
    return error instanceof Refused && ![0, 404, 503].includes(error.status);
  }
}
