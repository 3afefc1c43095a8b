// The page: wires the connection, the camera, the portraits and the sliders together.
// @ts-check
import { CameraPanel } from "./camera-panel.js";
import { Calibration } from "./calibration.js";
import { snapshot } from "./camera.js";
import { ask, Refused } from "./ask.js";
import { Behind } from "./behind.js";
import { Board } from "./board.js";
import { Connection } from "./connection.js";
import { get } from "./elements.js";
import { Following } from "./following.js";
import { FaceNote } from "./face-note.js";
import { wireFigures } from "./figures-panel.js";
import { watchLight } from "./light.js";
import { cover, covered, say } from "./notices.js";
import { Portraits } from "./portraits.js";
import { Presets, tidyUp } from "./presets.js";
import { Recorder } from "./recorder.js";
import { serverSentence } from "./sentences.js";
import { showSits } from "./sits.js";
import { Sliders } from "./sliders.js";
import { rove } from "./toolbar.js";
import { profile, wireView } from "./view-link.js";
import { VoicePanel } from "./voice-panel.js";
import { PARTS, storage, Wishes } from "./wishes.js";

/** @typedef {import("./types.js").Event} ServerEvent */
/** @typedef {import("./types.js").State} State */

const avatar = get("avatar", HTMLVideoElement);
const preview = get("preview", HTMLImageElement);
const note = get("face-note", HTMLElement);
const status = get("status", HTMLElement);
const sampleButton = get("sample", HTMLButtonElement);
const calibrateButton = get("calibrate", HTMLButtonElement);
const pauseButton = get("pause", HTMLButtonElement);
const resetButton = get("reset", HTMLButtonElement);
const snapshotButton = get("snapshot", HTMLButtonElement);
const mirrorBox = get("mirror", HTMLInputElement);
const viewSnapshotButton = get("snapshot-view", HTMLButtonElement);
const fileInput = get("file", HTMLInputElement);
const viewInput = get("view-file", HTMLInputElement);

/** The page and one server. */
class Page {
  /** @type {import("./types.js").Stats | null} */ #stats = null;
  /** @type {State | null} */ #state = null;
  #panel = false;
  #session = "";
  #showView;
  /** The neutral face that this session has learnt, for the next one. @type {{engine: string, neutral: number[]} | null} */
  #learnt = null;
  /** The neutral face of a preset, for when the camera drives. @type {number[] | null} */ #toLearn = null;
  #engine = "";
  /** @type {import("./types.js").Hello | null} */ #hello = null;
  #calibration;
  #presets;
  #board;
  #following;
  #behind;
  #wishes = new Wishes(storage());
  #note = new FaceNote();
  #sliders = new Sliders(get("sliders", HTMLElement), get("find", HTMLInputElement));

  /** @param {Connection} connection */
  constructor(connection) {
    this.connection = connection;
    this.camera = new CameraPanel(connection);
    this.camera.way.looked = (seen, took) => this.#note.found(seen, took, performance.now());
    this.camera.way.begun = () => { this.#note.restart(performance.now()); this.#showFace(); };
    this.voice = new VoicePanel(connection);
    this.portraits = new Portraits(get("gallery", HTMLElement), connection, this.#wishes);
    this.#calibration = new Calibration(
      () => this.camera.stream,
      () => ({ seen: ["tracking", "holding"].includes(this.#state?.face ?? ""), progress: this.#state?.calibration ?? 0 }),
      () => {
        if (this.#state) this.#state.calibration = 1;
        connection.send({ type: "calibrate" });
      },
    );
    const own = () => this.#wishes.own;
    this.#presets = new Presets(connection, this.portraits, () => this.#set(), (preset) => this.#wear(preset), own);
    this.#board = new Board((name, on) => connection.send({ type: "expression", name, ...on }));
    this.#behind = new Behind(connection, this.#wishes);
    this.#behind.changed = () => void tidyUp(own());
    this.#following = new Following(this.#wishes, (command) => connection.send(command));
    connection.portrait = () => this.portraits.fromServer();
    this.#wireConnection();
    this.#wireControls();
    this.#wireSliders();
    this.#wireUploads();
    this.#showView = wireView(connection);
    const known = () => ({ server: this.#stats, camera: this.camera.on || this.#panel, finding: this.camera.way.finding });
    new Recorder(connection, known);
    watchLight(() => this.camera.on);
    wireFigures(connection, known);
  }

  #wireConnection() {
    const { connection } = this;
    connection.addEventListener("status", (event) => {
      const { state, short, text } = /** @type {CustomEvent<import("./connection.js").Status>} */ (event).detail;
      status.dataset.state = state;
      status.textContent = short;
      if (state === "connecting") cover("connection", avatar.srcObject ? "Connecting again" : "Waking up the avatar");
      else if (state !== "live") cover("connection", text, false);
      else if (avatar.readyState >= 2) cover("connection", "");
      this.#enable();
    });
    connection.addEventListener("stream", (event) => {
      preview.hidden = true;
      preview.removeAttribute("src");
      avatar.hidden = false;
      avatar.srcObject = /** @type {CustomEvent<MediaStream>} */ (event).detail;
      void avatar.play().catch(() => {});
    });
    connection.addEventListener("fallback", (event) => {
      avatar.hidden = true;
      preview.hidden = false;
      preview.src = /** @type {CustomEvent<string>} */ (event).detail;
      cover("connection", "");
      this.camera.offer(false);
      this.voice.offer(false);
      say("Video does not get through between this browser and the server, so you see pictures, and the sliders work; a camera needs video.");
    });
    connection.addEventListener("message", (event) => this.#received(/** @type {CustomEvent<ServerEvent>} */ (event).detail));
    avatar.addEventListener("playing", () => cover("connection", ""));
    avatar.addEventListener("resize", () => { // wide and upright pictures get a stage of their shape
      const { videoWidth, videoHeight } = avatar;
      if (!videoHeight) return;
      get("stage", HTMLElement).style.setProperty("--shape", String(videoWidth / videoHeight));
      get("view-size", HTMLElement).textContent = `${videoWidth} x ${videoHeight}`;
    });
  }

  #wireControls() {
    const { connection } = this;
    this.camera.addEventListener("change", () => {
      this.#note.restart(performance.now());
      if (!this.camera.on) showSits(null, false);
      if (!this.camera.on) this.#learnt = null; // the next camera may see someone else
      else void this.voice.stop();
      this.#enable();
      this.#showFace();
    });
    this.voice.addEventListener("change", () => {
      if (this.voice.on && this.camera.on) void this.camera.stop();
      this.#enable();
    });
    sampleButton.addEventListener("click", () => {
      if (this.voice.on) void this.voice.stop();
      else void this.camera.stop();
    });
    calibrateButton.addEventListener("click", () => {
      this.#calibration.open();
    });
    pauseButton.addEventListener("click", () => {
      this.#wishes.set({ paused: !(this.#state?.paused ?? false) });
      connection.send({ type: "pause", paused: this.#wishes.paused });
    });
    mirrorBox.addEventListener("change", () => {
      this.#learnt = null; // the server learns anew
      this.#wishes.set({ mirror: mirrorBox.checked });
      connection.send({ type: "mirror", on: mirrorBox.checked });
    });
    get("full", HTMLButtonElement).addEventListener("click", () => {
      if (document.fullscreenElement) void document.exitFullscreen();
      else void get("stage", HTMLElement).requestFullscreen?.().catch(() => say("This browser does not allow full screen here."));
    });
    for (const toolbar of document.querySelectorAll("[role='toolbar']")) rove(/** @type {HTMLElement} */ (toolbar));
  }

  #wireSliders() {
    /** @type {Record<string, number>} */
    let waiting = {};
    let scheduled = false;
    this.#sliders.addEventListener("change", (event) => {
      const { name, value } = /** @type {CustomEvent<{name: string, value: number}>} */ (event).detail;
      waiting[name] = value;
      this.#wishes.set({ edits: { ...this.#wishes.edits, [name]: value } });
      if (scheduled) return;
      scheduled = true;
      requestAnimationFrame(() => {
        this.connection.send({ type: "set_edits", values: waiting });
        waiting = {};
        scheduled = false;
      });
    });
    resetButton.addEventListener("click", () => {
      this.#wishes.set({ edits: {} });
      this.#sliders.reset();
      this.connection.send({ type: "reset_edits" });
    });
  }

  /** What is set now, for a preset. @returns {Omit<import("./types.js").Preset, "name" | "portrait"> | null} */
  #set() {
    if (!this.#state || !this.#hello) return null;
    // what the user wants here; the server's word may be older, but where others steer too it is the one that counts
    const { amplitude, hold_gaze, smoothing, mirror, shape } = this.#panel ? this.#state : this.#wishes;
    const edits = this.#panel ? this.#state.edits : this.#wishes.editsFor(this.#hello);
    const calibration = this.#learnt ? { calibration: this.#learnt } : {};
    return { format: "", version: 1, edits, amplitude, hold_gaze, smoothing, mirror, shape, ...this.#behind.look(this.#panel, this.#state), ...calibration };
  }

  /** Set what a preset says, its portrait aside. @param {import("./types.js").Preset} preset */
  #wear(preset) {
    const { connection } = this;
    if (!this.#hello) return;
    const amplitude = Object.fromEntries(PARTS.map((part) => [part, preset.amplitude[part] ?? 1]));
    const { edits, mirror, hold_gaze, smoothing, shape, calibration } = preset;
    this.#wishes.set({ edits, mirror, hold_gaze, smoothing, amplitude, ...(shape ? { shape } : {}) });
    this.#sliders.reset();
    connection.send({ type: "reset_edits" });
    connection.send({ type: "set_edits", values: this.#wishes.editsFor(this.#hello) });
    connection.send({ type: "amplitude", values: amplitude });
    connection.send({ type: "hold_gaze", on: hold_gaze });
    connection.send({ type: "smoothing", amount: smoothing });
    if (mirror !== this.#state?.mirror) connection.send({ type: "mirror", on: mirror });
    if (shape && shape !== this.#state?.shape) connection.send({ type: "shape", shape });
    this.#behind.wear(preset);
    if (calibration?.engine === this.#engine) {
      this.#learnt = calibration;
      this.#toLearn = calibration.neutral;
      this.#learn();
    }
  }

  /** Tell the neutral face that waits, once it is the driver whom the server looks at. */
  #learn() {
    if (!this.#toLearn || this.#state?.source !== "camera" || !(this.camera.on || this.#panel)) return;
    this.connection.send({ type: "calibrate", neutral: this.#toLearn });
    this.#toLearn = null;
  }

  #wireUploads() {
    get("upload", HTMLButtonElement).addEventListener("click", () => fileInput.click());
    fileInput.addEventListener("change", () => {
      const file = fileInput.files?.[0];
      fileInput.value = "";
      if (file) void this.portraits.add(file, file.name.replace(/\.[^.]*$/, "") || "Your picture");
    });
    snapshotButton.addEventListener("click", async () => {
      await this.portraits.add(await snapshot(get("camera-view", HTMLVideoElement)), "Snapshot");
    });
    get("add-view", HTMLButtonElement).addEventListener("click", () => viewInput.click());
    viewInput.addEventListener("change", () => {
      const file = viewInput.files?.[0];
      viewInput.value = "";
      if (file) void this.portraits.addView(file);
    });
    viewSnapshotButton.addEventListener("click", async () => {
      await this.portraits.addView(await snapshot(get("camera-view", HTMLVideoElement)));
    });
    get("edit-portrait", HTMLButtonElement).addEventListener("click", () => void this.portraits.change());
    get("delete-portrait", HTMLButtonElement).addEventListener("click", () => void this.portraits.remove());
    this.portraits.addEventListener("own", (event) => {
      get("own-row", HTMLElement).hidden = !(/** @type {CustomEvent<boolean>} */ (event).detail);
    });
  }

  /** @param {ServerEvent} event */
  #received(event) {
    switch (event.type) {
      case "hello": this.#greeted(event); break;
      case "state": this.#showState(event); break;
      case "stats":
        this.#stats = event;
        if (this.#state) Object.assign(this.#state, { face: event.face, calibration: event.calibration });
        showSits(event, this.camera.on || this.#panel);
        this.#showFace();
        break;
      case "portraits": this.portraits.listed(event.portraits); break;
      case "error":
        if (!this.#calibration.refused(event.error)) say(event.error);
        this.portraits.refused();
        break;
      default: break;
    }
  }

  /** A session, which knows nothing of what was set in the one before. @param {import("./types.js").Hello} hello */
  #greeted(hello) {
    this.#showView(hello.view);
    if (hello.session === this.#session) { this.#showState(hello.state); return; } // only its links are new
    this.#session = hello.session;
    this.#panel = hello.panel;
    if (hello.panel) get("privacy", HTMLElement).textContent = "Your camera picture stays on this computer: only the avatar is shown.";
    for (const button of [sampleButton, snapshotButton, viewSnapshotButton]) button.hidden = hello.panel;
    this.camera.offer(!hello.panel && !preview.src);
    this.voice.offer(!hello.panel && !preview.src);
    const engine = get("engine", HTMLElement);
    engine.hidden = false;
    engine.textContent = `${hello.engine} on ${hello.device}`;
    this.#sliders.build(hello.directions);
    this.#note.restart(performance.now());
    const edits = hello.panel ? hello.state.edits : this.#wishes.editsFor(hello);
    if (!hello.panel) for (const command of this.#wishes.commands(hello)) this.connection.send(command);
    if (this.camera.on && this.#learnt?.engine === hello.engine) this.connection.send({ type: "calibrate", neutral: this.#learnt.neutral });
    this.#engine = hello.engine;
    this.#hello = hello;
    void this.#presets.begin(hello.panel);
    this.#board.build(hello.expressions);
    void this.portraits.begin(hello).then(() => this.#behind.begin(hello));
    this.#showState({ ...hello.state, edits });
    this.#enable();
  }

  /** @param {State} state */
  #showState(state) {
    this.#state = { ...state };
    if (state.neutral) this.#learnt = { engine: this.#engine, neutral: state.neutral };
    this.portraits.state(state);
    this.#sliders.set(state.edits);
    const [use, label] = [pauseButton.querySelector("use"), pauseButton.querySelector("span")];
    const icon = `/app/icons.svg#${state.paused ? "play" : "pause"}`;
    if (use?.getAttribute("href") !== icon) use?.setAttribute("href", icon);  // set anew it would blink
    if (label) label.textContent = state.paused ? "Resume" : "Pause";
    mirrorBox.checked = state.mirror;
    this.#following.show(state);
    this.#behind.state(state);
    this.#learn();
    sampleButton.setAttribute("aria-pressed", String(state.source === "sample"));
    this.#showFace();
  }

  #showFace() {
    const text = this.camera.way.starting ? "Getting ready to find your face" : this.#state ? this.#note.text(this.#state, this.camera.on || this.#panel, performance.now()) : "";
    note.hidden = text === "" || covered();
    if (note.textContent !== text) note.textContent = text;
  }

  /** Enable what can be done now. */
  #enable() {
    const live = status.dataset.state === "live";
    resetButton.disabled = !live;
    snapshotButton.disabled = viewSnapshotButton.disabled = !this.camera.on;
    calibrateButton.disabled = !(live && (this.camera.on || this.#panel));
  }
}

async function begin() {
  try {
    const config = await (await ask("/api/config")).json();
    const connection = new Connection(config, profile);
    new Page(connection);
    await connection.start();
  } catch (error) {
    cover("connection", error instanceof Refused ? error.message : serverSentence(0, ""), false);
    status.dataset.state = "waiting";
    status.textContent = "Not connected";
    if (!(error instanceof Refused && error.status === 401)) setTimeout(() => void begin(), 3000);
  }
}
void begin();
