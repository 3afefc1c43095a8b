// The page: wires the connection, the camera, the gallery and the sliders together.
// @ts-check
import { listCameras, openCamera, snapshot } from "./camera.js";
import { ask, Connection, Refused } from "./connection.js";
import { consents, Gallery, upload } from "./gallery.js";
import { cameraSentence, FACE_NOTES, serverSentence } from "./sentences.js";
import { Sliders } from "./sliders.js";
import { figures, rows } from "./stats.js";

/** @typedef {import("./types.js").Event} ServerEvent */
/** @typedef {import("./types.js").State} State */

/** @template {HTMLElement} T @param {string} id @param {new (...args: any[]) => T} type @returns {T} */
function get(id, type) {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`the page has no ${id}`);
  return element;
}

const avatar = get("avatar", HTMLVideoElement);
const preview = get("preview", HTMLImageElement);
const veil = get("veil", HTMLElement);
const overlay = get("overlay", HTMLElement);
const self = get("self", HTMLElement);
const cameraView = get("camera-view", HTMLVideoElement);
const note = get("face-note", HTMLElement);
const message = get("message", HTMLElement);
const status = get("status", HTMLElement);
const cameraButton = get("camera", HTMLButtonElement);
const sampleButton = get("sample", HTMLButtonElement);
const calibrateButton = get("calibrate", HTMLButtonElement);
const pauseButton = get("pause", HTMLButtonElement);
const resetButton = get("reset", HTMLButtonElement);
const snapshotButton = get("snapshot", HTMLButtonElement);
const deviceSelect = get("device", HTMLSelectElement);
const mirrorBox = get("mirror", HTMLInputElement);
const backgroundSelect = get("background", HTMLSelectElement);
const viewBackground = get("view-background", HTMLSelectElement);
const openView = get("open-view", HTMLAnchorElement);
const fileInput = get("file", HTMLInputElement);

/** @type {MediaStream | null} */
let camera = null;
/** @type {import("./types.js").Stats | null} */
let serverStats = null;
/** @type {Map<string, any>} */
let lastReport = new Map();
/** What the user set; told again to a new session after the connection was lost. */
const wanted = { edits: /** @type {Record<string, number>} */ ({}), paused: false, mirror: false, background: "original" };
let panel = false;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let messageTimer;

const sliders = new Sliders(get("sliders", HTMLElement), get("find", HTMLInputElement));
const gallery = new Gallery(get("gallery", HTMLElement));

/** @param {string} text @param {"trouble" | "note"} [kind] */
function say(text, kind = "trouble") {
  clearTimeout(messageTimer);
  message.textContent = text;
  message.dataset.kind = kind;
  message.hidden = text === "";
  if (kind === "note") messageTimer = setTimeout(() => { message.hidden = true; }, 4000);
}

/** @param {string} text @param {boolean} busy */
function cover(text, busy) {
  veil.hidden = text === "";
  veil.dataset.busy = busy ? "yes" : "no";
  get("veil-text", HTMLElement).textContent = text;
}

/** @param {Connection} connection */
function wire(connection) {
  connection.addEventListener("status", (event) => {
    const { state, text } = /** @type {CustomEvent<import("./connection.js").Status>} */ (event).detail;
    status.dataset.state = state;
    status.textContent = state === "lost" ? "Connection lost" : text;
    if (state === "connecting") cover(avatar.srcObject ? "Connecting again" : "Waking up the avatar", true);
    else if (state === "lost") cover(text, false);
    else if (avatar.readyState >= 2) cover("", false);
    for (const button of [calibrateButton, resetButton]) button.disabled = state !== "live";
    calibrateButton.disabled ||= !(camera || panel);
  });
  connection.addEventListener("stream", (event) => {
    preview.hidden = true;
    preview.removeAttribute("src");
    avatar.hidden = false;
    cameraButton.disabled = false;
    avatar.srcObject = /** @type {CustomEvent<MediaStream>} */ (event).detail;
    void avatar.play().catch(() => {});
  });
  connection.addEventListener("fallback", (event) => {
    avatar.hidden = true;
    preview.hidden = false;
    preview.src = /** @type {CustomEvent<string>} */ (event).detail;
    cover("", false);
    cameraButton.disabled = true;
    say("Video does not get through between this browser and the server, so you see pictures. A camera needs a network.");
  });
  connection.addEventListener("message", (event) => received(connection, /** @type {CustomEvent<ServerEvent>} */ (event).detail));
  avatar.addEventListener("playing", () => cover("", false));

  cameraButton.addEventListener("click", () => void useCamera(connection, deviceSelect.value));
  get("camera-off", HTMLButtonElement).addEventListener("click", () => void stopCamera(connection));
  deviceSelect.addEventListener("change", () => void useCamera(connection, deviceSelect.value));
  sampleButton.addEventListener("click", () => void stopCamera(connection));
  calibrateButton.addEventListener("click", () => {
    connection.send({ type: "calibrate" });
    say("Your face as it was just now is the neutral one.", "note");
  });
  pauseButton.addEventListener("click", () => {
    wanted.paused = pauseButton.getAttribute("aria-pressed") !== "true";
    connection.send({ type: "pause", paused: wanted.paused });
  });
  mirrorBox.addEventListener("change", () => {
    wanted.mirror = mirrorBox.checked;
    connection.send({ type: "mirror", on: wanted.mirror });
  });
  backgroundSelect.addEventListener("change", () => {
    wanted.background = backgroundSelect.value;
    connection.send({ type: "background", background: /** @type {any} */ (wanted.background) });
  });
  resetButton.addEventListener("click", () => {
    wanted.edits = {};
    sliders.set({});
    connection.send({ type: "reset_edits" });
  });
  gallery.addEventListener("choose", (event) => {
    const id = /** @type {CustomEvent<string>} */ (event).detail;
    connection.portrait = gallery.uploaded(id) ? null : id;
    connection.send({ type: "portrait", id });
  });
  wireSliders(connection);
  wireUploads(connection);
  wireView(connection);
  setInterval(() => void look(connection), 1000);
}

/** @param {Connection} connection */
function wireSliders(connection) {
  /** @type {Record<string, number>} */
  let waiting = {};
  let scheduled = false;
  sliders.addEventListener("change", (event) => {
    const { name, value } = /** @type {CustomEvent<{name: string, value: number}>} */ (event).detail;
    waiting[name] = value;
    wanted.edits[name] = value;
    if (scheduled) return;
    scheduled = true;
    requestAnimationFrame(() => {
      connection.send({ type: "set_edits", values: waiting });
      waiting = {};
      scheduled = false;
    });
  });
}

/** @param {Connection} connection */
function wireUploads(connection) {
  const bring = async (/** @type {Blob} */ picture, /** @type {string} */ name) => {
    if (!connection.session) { say("Wait until the avatar is live."); return; }
    if (!(await consents(get("consent", HTMLDialogElement), picture))) return;
    say("Preparing the portrait", "note");
    try {
      const portrait = await upload(connection.session, picture, name);
      gallery.choose(portrait.id);
      connection.portrait = null;
      say("This is your avatar now.", "note");
    } catch (error) {
      say(error instanceof Refused ? error.message : "That picture could not be used.");
    }
  };
  get("upload", HTMLButtonElement).addEventListener("click", () => fileInput.click());
  fileInput.addEventListener("change", () => {
    const file = fileInput.files?.[0];
    fileInput.value = "";
    if (file) void bring(file, file.name.replace(/\.[^.]*$/, "") || "Your picture");
  });
  snapshotButton.addEventListener("click", async () => { await bring(await snapshot(cameraView), "Snapshot"); });
}

/** @param {Connection} connection */
function wireView(connection) {
  const address = () => {
    const background = viewBackground.value ? `?background=${viewBackground.value}` : "";
    return new URL(`/view/${connection.session}${background}`, location.href).href;
  };
  const refresh = () => { openView.href = connection.session ? address() : "#"; };
  viewBackground.addEventListener("change", refresh);
  connection.addEventListener("status", () => {
    refresh();
    get("copy-view", HTMLButtonElement).disabled = !connection.live;
  });
  get("copy-view", HTMLButtonElement).addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(address());
      say("The link is copied.", "note");
    } catch {
      say(`Copy this link: ${address()}`, "note");
    }
  });
}

/** @param {Connection} connection @param {ServerEvent} event */
function received(connection, event) {
  switch (event.type) {
    case "hello":
      panel = event.panel;
      if (panel) get("privacy", HTMLElement).textContent = "Your camera picture stays on this computer: only the avatar is shown.";
      for (const id of ["camera", "sample", "snapshot"]) get(id, HTMLButtonElement).hidden = panel;
      get("engine", HTMLElement).hidden = false;
      get("engine", HTMLElement).textContent = `${event.engine} on ${event.device}`;
      sliders.build(event.directions);
      gallery.show(event.portraits);
      showState(event.state);
      calibrateButton.disabled = !(camera || panel);
      retell(connection, event.state);
      break;
    case "state": showState(event); break;
    case "stats": serverStats = event; showFace(event.face); break;
    case "portraits": gallery.show(event.portraits); break;
    case "error": say(event.error); break;
    default: break;
  }
}

/**
 * A new session knows nothing of what was set in the one that was lost.
 * @param {Connection} connection @param {State} state
 */
function retell(connection, state) {
  if (panel) return;
  const edits = Object.fromEntries(Object.entries(wanted.edits).filter(([, value]) => value !== 0));
  if (Object.keys(edits).length && !Object.keys(state.edits).length) connection.send({ type: "set_edits", values: edits });
  if (wanted.paused && !state.paused) connection.send({ type: "pause", paused: true });
  if (wanted.mirror && !state.mirror) connection.send({ type: "mirror", on: true });
  if (wanted.background !== state.background) connection.send({ type: "background", background: /** @type {any} */ (wanted.background) });
}

/** @param {State} state */
function showState(state) {
  gallery.choose(state.portrait);
  sliders.set(state.edits);
  pauseButton.setAttribute("aria-pressed", String(state.paused));
  mirrorBox.checked = state.mirror;
  backgroundSelect.value = state.background;
  sampleButton.setAttribute("aria-pressed", String(state.source === "sample"));
  showFace(state.face);
}

/** @param {import("./types.js").Face} face */
function showFace(face) {
  const text = camera || panel ? FACE_NOTES[face] : "";
  note.hidden = text === "" || !veil.hidden;
  if (note.textContent !== text) note.textContent = text;
}

/** @param {Connection} connection @param {string} device */
async function useCamera(connection, device) {
  cameraButton.disabled = true;
  try {
    const stream = await openCamera(device || undefined);
    camera?.getTracks().forEach((track) => track.stop());
    camera = stream;
    const track = stream.getVideoTracks()[0] ?? null;
    track?.addEventListener("ended", () => {
      say("The camera was unplugged or taken away. The avatar plays the sample meanwhile.");
      void stopCamera(connection);
    });
    cameraView.srcObject = stream;
    await connection.useCamera(track);
    await showCameras(track);
    say("");
  } catch (error) {
    say(cameraSentence(error));
  } finally {
    cameraButton.disabled = false;
    showCameraState();
  }
}

/** @param {MediaStreamTrack | null} track */
async function showCameras(track) {
  const cameras = await listCameras();
  const used = track?.getSettings().deviceId;
  deviceSelect.replaceChildren(...cameras.map((device, index) => {
    const option = new Option(device.label || `Camera ${index + 1}`, device.deviceId);
    option.selected = device.deviceId === used;
    return option;
  }));
}

/** @param {Connection} connection */
async function stopCamera(connection) {
  camera?.getTracks().forEach((track) => track.stop());
  camera = null;
  cameraView.srcObject = null;
  showCameraState();
  await connection.useCamera(null);
}

function showCameraState() {
  const on = camera !== null;
  self.hidden = !on;
  get("camera-row", HTMLElement).hidden = !on;
  cameraButton.hidden = on || panel;
  snapshotButton.disabled = !on;
  calibrateButton.disabled = !(on || panel);
  if (!on) note.hidden = true;
}

/** @param {Connection} connection */
async function look(connection) {
  if (!connection.pc || overlay.hidden) { lastReport = new Map(); return; }
  const report = new Map(/** @type {any} */ (await connection.pc.getStats()));
  const values = figures(report, lastReport, serverStats);
  if (lastReport.size) {
    overlay.replaceChildren(...rows(values, serverStats, camera !== null || panel).flatMap(([name, value]) => {
      const [term, data] = [document.createElement("dt"), document.createElement("dd")];
      term.textContent = name;
      data.textContent = value;
      return [term, data];
    }));
  }
  lastReport = report;
}

get("figures", HTMLButtonElement).addEventListener("click", (event) => {
  overlay.hidden = !overlay.hidden;
  /** @type {HTMLElement} */ (event.currentTarget).setAttribute("aria-pressed", String(!overlay.hidden));
});
get("full", HTMLButtonElement).addEventListener("click", () => {
  if (document.fullscreenElement) void document.exitFullscreen();
  else void get("stage", HTMLElement).requestFullscreen?.().catch(() => say("This browser does not allow full screen here."));
});

async function begin() {
  try {
    const config = await (await ask("/api/config")).json();
    const connection = new Connection(config);
    wire(connection);
    await connection.start();
  } catch (error) {
    cover(error instanceof Refused ? error.message : serverSentence(0, ""), false);
    status.dataset.state = "lost";
    status.textContent = "Not connected";
    if (!(error instanceof Refused && error.status === 401)) setTimeout(() => void begin(), 3000);
  }
}
void begin();
