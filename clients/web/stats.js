// Live figures: what the browser measures and what the server measures, added up to glass-to-glass.
// @ts-check
/** @typedef {import("./types.js").Figures} Figures */
/** @typedef {import("./types.js").Stats} Stats */

/** A browser puts a decoded picture on the screen at its next refresh: half a frame of 60 Hz, on average. */
const DISPLAY_MS = 8;

/**
 * @param {any} now @param {any} before @param {string} sum @param {string} count
 * @returns {number | null} mean milliseconds since the last look
 */
function mean(now, before, sum, count) {
  const n = (now?.[count] ?? 0) - (before?.[count] ?? 0);
  return n > 0 ? (1000 * ((now[sum] ?? 0) - (before?.[sum] ?? 0))) / n : null;
}

/**
 * Figures of the last second, from two looks at `RTCPeerConnection.getStats()`.
 *
 * glassToGlass adds up what is measured on the way: the browser's encoding (`finding`, where it finds landmarks
 * instead: milliseconds) and sending, the network there and back,
 * the server's own time (motion, rendering and encoding included), the jitter buffer and decoding here,
 * and the wait for the screen. What the camera itself takes is not in it.
 * @param {Map<string, any>} now @param {Map<string, any>} before @param {Stats | null} server @param {number | null} [finding]
 * @returns {Figures}
 */
export function figures(now, before, server, finding = null) {
  /** @param {Map<string, any>} report @param {string} type */
  const find = (report, type) => [...report.values()].find((entry) => entry.type === type && (entry.kind ?? "video") === "video");
  const [inbound, inboundBefore] = [find(now, "inbound-rtp"), find(before, "inbound-rtp")];
  const [outbound, outboundBefore] = [find(now, "outbound-rtp"), find(before, "outbound-rtp")];
  const pair = [...now.values()].find((entry) => entry.type === "candidate-pair" && entry.nominated && entry.state === "succeeded");
  const roundTrip = pair?.currentRoundTripTime === undefined ? null : 1000 * pair.currentRoundTripTime;
  const jitterBuffer = mean(inbound, inboundBefore, "jitterBufferDelay", "jitterBufferEmittedCount");
  const processing = mean(inbound, inboundBefore, "totalProcessingDelay", "framesDecoded")
    ?? (jitterBuffer ?? 0) + (mean(inbound, inboundBefore, "totalDecodeTime", "framesDecoded") ?? 0);
  const [landmarks, landmarksBefore] = [now, before].map((report) => [...report.values()].find((entry) => entry.type === "data-channel" && entry.label === "landmarks"));
  const encode = finding ?? mean(outbound, outboundBefore, "totalEncodeTime", "framesEncoded");
  const pacing = mean(outbound, outboundBefore, "totalPacketSendDelay", "packetsSent");
  const seconds = inbound && inboundBefore ? (inbound.timestamp - inboundBefore.timestamp) / 1000 : 0;
  const fps = seconds > 0 ? (inbound.framesDecoded - inboundBefore.framesDecoded) / seconds : null;
  let glassToGlass = null;
  const inServer = server?.sent_ms ?? server?.server_ms;
  if (inServer != null && fps) {
    glassToGlass = (encode ?? 0) + (pacing ?? 0) + (roundTrip ?? 0) + inServer + processing + DISPLAY_MS;
  }
  /** @param {any} a @param {any} b @param {string} bytes */
  const rate = (a, b, bytes) => (a && b && a.timestamp > b.timestamp ? (8 * (a[bytes] - b[bytes])) / (a.timestamp - b.timestamp) : null);
  const up = rate(outbound, outboundBefore, "bytesSent");
  const down = rate(inbound, inboundBefore, "bytesReceived");
  /** @param {number | null} kilobits */
  const text = (kilobits) => (kilobits === null ? null : kilobits >= 1000 ? `${(kilobits / 1000).toFixed(1)} Mbit/s` : `${Math.round(kilobits)} kbit/s`);
  return {
    fps, glassToGlass, jitterBuffer, roundTrip,
    uplink: finding !== null ? `landmarks, ${text(rate(landmarks, landmarksBefore, "bytesSent"))}` : outbound?.frameWidth ? `${outbound.frameWidth}×${outbound.frameHeight}, ${text(up)}` : null,
    downlink: text(down),
    width: inbound?.frameWidth ?? null, height: inbound?.frameHeight ?? null,
  };
}

/**
 * The same in words: how smooth it is, and how late.
 * @param {Pick<Figures, "fps" | "glassToGlass">} values @param {boolean} camera @param {number | null} [heldTo]  of all sessions
 * @param {boolean} [sparing]  they do without something
 */
export function inWords({ fps, glassToGlass }, camera, heldTo = null, sparing = false) {
  if (fps === null) return "Nothing comes just now";
  const less = [heldTo === null ? "" : `frame rate lowered to ${Math.round(heldTo)} for all`, sparing ? "picture coarser, shoulders at rest" : ""].filter(Boolean).join(", ");
  const smooth = less ? `${less.charAt(0).toUpperCase()}${less.slice(1)}: the machine is full` : fps >= 26 ? "Smooth" : fps >= 16 ? "A little jerky" : "Jerky: the machine has too much to do";
  if (!camera || glassToGlass === null) return smooth;
  const late = glassToGlass < 130 ? "no delay that you would notice" : glassToGlass < 260 ? "a slight delay" : "a delay that disturbs talking";
  return `${smooth}; ${late}`;
}

/**
 * Rows of the overlay.
 * @param {Figures} values @param {Stats | null} server @param {boolean} camera
 * @returns {[string, string][]}
 */
export function rows(values, server, camera) {
  /** @param {number | null | undefined} value @param {string} unit @param {number} [digits] */
  const show = (value, unit, digits = 0) => (value == null ? "–" : `${value.toFixed(digits)} ${unit}`);
  /** @type {[string, string][]} */
  const out = [
    ["In words", inWords(values, camera, server?.held_to ?? null, server?.sparing ?? false)],
    ["Pictures", show(values.fps, "fps")],
    [camera ? "Glass to glass" : "Server to screen", show(values.glassToGlass, "ms")],
    ["Jitter buffer", show(values.jitterBuffer, "ms")],
    ["Network, both ways", show(values.roundTrip, "ms")],
  ];
  if (server) {
    if (camera) out.push(["Motion", show(server.encode_ms, "ms", 1)]);
    out.push(["Render", show(server.render_ms, "ms", 1)], ["Engine", `${server.engine} on ${server.device}`]);
    out.push(["Video", [server.codec, values.width ? `${values.width}×${values.height}` : null, values.downlink].filter(Boolean).join(", ")]);
  }
  if (camera && values.uplink) out.push(["Camera", values.uplink]);
  return out;
}
