// Face landmarks as bytes: the sender's side of the packets that realtime/motion/landmark_wire.py describes.
// @ts-check
import { NEIGHBOUR } from "./landmark-tree.js";

/**
 * A face in one camera picture. points: 478 times x, y, z in pixels of the picture; null: no face was seen.
 * captured: microseconds of a clock that does not go back.
 * @typedef {{points: Float32Array | null, width: number, height: number, captured: number}} Found
 */

const COUNT = 478;
const [FOREHEAD, CHIN, NOSE_TIP] = [10, 152, 4];
const [HEADER, BODY] = [20, 72];
/** Steps of a face height that landmarks are rounded to. */
const STEPS = 1024;
/** So many packets are built on one that the server has kept. */
const REACH = 32;

/** Can this browser pack? Version 1 needs raw deflate. */
export function canPack() {
  try { return Boolean(new CompressionStream("deflate-raw")); } catch { return false; }
}

export class LandmarkWriter {
  #next = 0;
  /** What was sent, as the server reads it. @type {Map<number, Float64Array>} */ #sent = new Map();
  #kept = -1;

  /** The server has kept this packet. @param {number} sequence */
  kept(sequence) { if (this.#sent.has(sequence) && sequence > this.#kept) this.#kept = sequence; }

  /** The next packet. @param {Found} found @returns {Promise<Uint8Array<ArrayBuffer>>} */
  async pack({ points, width, height, captured }) {
    const sequence = this.#next++; // 30 a second take four years to wrap
    const earlier = this.#sent.get(this.#kept);
    const head = new DataView(new ArrayBuffer(points ? BODY : HEADER));
    head.setUint8(0, 0x4c);
    head.setUint8(1, 1);
    head.setUint8(2, points ? 1 : 0);
    head.setUint8(3, points && earlier ? sequence - this.#kept : 0);
    head.setUint32(4, sequence, true);
    head.setBigUint64(8, BigInt(Math.max(0, Math.round(captured))), true);
    head.setUint16(16, width, true);
    head.setUint16(18, height, true);
    if (!points) return new Uint8Array(head.buffer);
    const step = Math.fround(Math.max(1e-3, apart(points, FOREHEAD, CHIN) / STEPS));
    const move = moved(earlier ?? null, points);
    const predicted = predict(earlier ?? null, move);
    head.setFloat32(20, step, true);
    move.forEach((value, at) => head.setFloat32(24 + 4 * at, value, true));
    const remainders = predicted.map((value, i) => Math.round(((points[i] ?? 0) - value) / step));
    const raw = new Uint8Array(6 * COUNT);
    for (let axis = 0, at = 0; axis < 3; axis++) {
      for (let i = 0; i < COUNT; i++, at++) {
        const neighbour = NEIGHBOUR[i] ?? i;
        const told = (remainders[3 * i + axis] ?? 0) - (i === NOSE_TIP ? 0 : remainders[3 * neighbour + axis] ?? 0);
        const folded = (told << 1) ^ (told >> 15);
        raw[at] = folded & 255;
        raw[at + 3 * COUNT] = (folded >> 8) & 255;
      }
    }
    remainders.forEach((remainder, i) => { predicted[i] = (predicted[i] ?? 0) + step * remainder; });
    this.#sent.set(sequence, predicted);
    for (const old of this.#sent.keys()) if (sequence - old >= REACH) this.#sent.delete(old);
    const body = new Response(new Blob([raw]).stream().pipeThrough(new CompressionStream("deflate-raw")));
    return new Uint8Array(await new Blob([head.buffer, await body.arrayBuffer()]).arrayBuffer());
  }
}

/** @param {Float32Array} points @param {number} a @param {number} b */
function apart(points, a, b) {
  return Math.hypot(...[0, 1, 2].map((axis) => (points[3 * a + axis] ?? 0) - (points[3 * b + axis] ?? 0)));
}

/** @param {ArrayLike<number>} points @returns {number[]} */
function middle(points) {
  const sum = [0, 0, 0];
  for (let i = 0; i < 3 * COUNT; i++) sum[i % 3] = (sum[i % 3] ?? 0) + (points[i] ?? 0);
  return sum.map((value) => value / COUNT);
}

/**
 * How the landmarks moved as a whole: A (3 x 3) and t of the least squares A p + t, as the packet holds them.
 * @param {Float64Array | null} earlier @param {Float32Array} points
 */
function moved(earlier, points) {
  const move = new Float32Array(12);
  const to = middle(points);
  if (!earlier) { move.set(to, 9); return move; }
  const from = middle(earlier);
  const moments = new Float64Array(9), cross = new Float64Array(9);
  for (let i = 0; i < 3 * COUNT; i += 3) {
    for (let r = 0; r < 3; r++) {
      const x = (earlier[i + r] ?? 0) - (from[r] ?? 0);
      for (let c = 0; c < 3; c++) {
        moments[3 * r + c] = (moments[3 * r + c] ?? 0) + x * ((earlier[i + c] ?? 0) - (from[c] ?? 0));
        cross[3 * r + c] = (cross[3 * r + c] ?? 0) + x * ((points[i + c] ?? 0) - (to[c] ?? 0));
      }
    }
  }
  const scale = (moments[0] ?? 0) + (moments[4] ?? 0) + (moments[8] ?? 0);
  for (const at of [0, 4, 8]) moments[at] = (moments[at] ?? 0) + 1e-9 * scale;
  const inverse = inverted(moments);
  for (let r = 0; r < 3; r++) {
    let shift = to[r] ?? 0;
    for (let c = 0; c < 3; c++) {
      let value = 0;
      for (let k = 0; k < 3; k++) value += (inverse[3 * c + k] ?? 0) * (cross[3 * k + r] ?? 0);
      move[3 * r + c] = value;
      shift -= value * (from[c] ?? 0);
    }
    move[9 + r] = shift;
  }
  return move;
}

/** @param {Float64Array} m  3 x 3 @returns {number[]} */
function inverted(m) {
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0, i = 0] = m;
  const cofactors = [e * i - f * h, c * h - b * i, b * f - c * e, f * g - d * i, a * i - c * g, c * d - a * f, d * h - e * g, b * g - a * h, a * e - b * d];
  const determinant = a * (cofactors[0] ?? 0) + b * (cofactors[3] ?? 0) + c * (cofactors[6] ?? 0);
  return cofactors.map((value) => value / determinant);
}

/** @param {Float64Array | null} earlier @param {Float32Array} move */
function predict(earlier, move) {
  const out = new Float64Array(3 * COUNT);
  for (let i = 0; i < 3 * COUNT; i += 3) {
    for (let r = 0; r < 3; r++) {
      let value = move[9 + r] ?? 0;
      if (earlier) for (let c = 0; c < 3; c++) value += (move[3 * r + c] ?? 0) * (earlier[i + c] ?? 0);
      out[i + r] = value;
    }
  }
  return out;
}
