// Finds the landmarks of a face in camera pictures. It runs beside the page, under a policy of its own (see
// realtime/server/http/pages.py): what it loads comes from the page, and it can reach no network at all. Pictures come
// in; numbers go out.
// @ts-check
"use strict";
/** @typedef {{points: Float32Array | null, width: number, height: number, captured: number, took: number}} Result */

const scope = /** @type {any} */ (self);
/** @typedef {{x: number, y: number, z: number}[]} Face  478 points, shares of the picture's sides */

/** MediaPipe's loader asks for a page: these are the parts of one that it uses. */
scope.window = scope;
scope.document = {
  body: { appendChild(/** @type {any} */ script) { scope.importScripts(script.src); script.loaded(); } },
  createElement(/** @type {string} */ name) {
    if (name === "canvas") return new OffscreenCanvas(1, 1);
    return {
      src: "", loaded() {},
      setAttribute(/** @type {string} */ key, /** @type {string} */ value) { if (key === "src") this.src = value; },
      addEventListener(/** @type {string} */ event, /** @type {() => void} */ act) { if (event === "load") this.loaded = act; },
    };
  },
};
scope.alert = (/** @type {string} */ text) => { throw new Error(text); };

/** @type {any} */ let mesh = null;
/** Further readings of the picture in which a face is found. */
const SETTLING = 5;
/** What it has found in the picture that it was given last. @type {{face: Face | null}} */ const found = { face: null };

/** @param {Record<string, Blob>} files  of MediaPipe's package */
async function load(files) {
  const addresses = new Map(Object.entries(files).map(([name, blob]) => [name, URL.createObjectURL(blob)]));
  scope.importScripts(addresses.get("face_mesh.js") ?? "");
  mesh = new scope.FaceMesh({ locateFile: (/** @type {string} */ name) => addresses.get(name) ?? "blob:none" });
  mesh.setOptions({ maxNumFaces: 1, refineLandmarks: true, minDetectionConfidence: 0.5, minTrackingConfidence: 0.5 });
  mesh.onResults((/** @type {any} */ results) => {
    results.image?.close?.();
    found.face = results.multiFaceLandmarks?.[0] ?? null;
  });
  await mesh.initialize();
}

/** @param {ImageBitmap} picture */
async function look(picture) {
  found.face = null;
  await mesh.send({ image: picture });
}

/** @param {ImageBitmap} picture @param {number} captured  microseconds */
async function find(picture, captured) {
  const { width, height } = picture;
  const begun = performance.now();
  const followed = found.face !== null;
  await look(picture);
  // A first reading depends on the detector's box: as on the server, it settles in some more.
  for (let n = 0; n < SETTLING && found.face && !followed; n++) await look(picture);
  picture.close();
  const face = /** @type {Face | null} */ (found.face); // the type checker does not see who sets it
  const points = face && new Float32Array(face.flatMap(({ x, y, z }) => [x * width, y * height, z * width]));
  /** @type {Result} */
  const result = { points, width, height, captured, took: performance.now() - begun };
  scope.postMessage({ result }, points ? [points.buffer] : []);
}

/** Newest pictures from a camera, as long as it gives some. @param {ReadableStream<VideoFrame>} frames */
async function follow(frames) {
  const reader = frames.getReader();
  for (;;) {
    const { value: frame, done } = await reader.read();
    if (done) return;
    const picture = await createImageBitmap(frame);
    const captured = frame.timestamp;
    frame.close();
    await find(picture, captured);
  }
}

scope.addEventListener("message", async (/** @type {MessageEvent} */ event) => {
  const { files, frames, picture, captured } = event.data;
  try {
    if (files) { await load(files); scope.postMessage({ ready: true }); }
    if (frames) await follow(frames);
    if (picture) await find(picture, captured);
  } catch (error) {
    scope.postMessage({ failed: String(error) });
  }
});
