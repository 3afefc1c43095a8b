// The WebRTC connection to one session: made, kept, and made again when it is lost.
// @ts-check
import { ask, Refused } from "./ask.js";
import { Backoff } from "./backoff.js";
import { LandmarkSender } from "./private-camera.js";
import { endedSentence, waitSentence } from "./sentences.js";
import { isThere, watchOver } from "./stall.js";

/** @typedef {import("./types.js").Event} ServerEvent */
/** @typedef {import("./types.js").Command} Command */
/**
 * lost: there was a connection, and it broke. waiting: the server refuses, or is not there. ended: for good.
 * short: for a label. text: the whole sentence.
 * @typedef {{state: "connecting" | "live" | "lost" | "waiting" | "ended", short: string, text: string}} Status
 */

const ANSWER_MS = 8000;
const DISCONNECTED_MS = 4000;
/** Between two looks at the state of a session that has no data channel. */
const PICTURES_MS = 2000;

/** @param {RTCPeerConnection} pc */
async function gathered(pc) {
  if (pc.iceGatheringState === "complete") return;
  await new Promise((resolve) => {
    const timer = setTimeout(resolve, 1500);
    pc.addEventListener("icegatheringstatechange", () => {
      if (pc.iceGatheringState === "complete") { clearTimeout(timer); resolve(undefined); }
    });
  });
}

/**
 * Events: "status" (Status), "message" (ServerEvent), "stream" (MediaStream), "fallback" (address of a JPEG stream).
 */
export class Connection extends EventTarget {
  /** @type {RTCPeerConnection | null} */ pc = null;
  /** @type {string | null} */ session = null;
  /** @type {RTCDataChannel | null} */ #channel = null;
  /** @type {RTCRtpTransceiver | null} */ #video = null;
  /** @type {MediaStreamTrack | null} */ #camera = null;
  /** What drives. @type {"camera" | "landmarks" | "voice" | "sample"} */ #source = "sample";
  /** @type {{pc: RTCPeerConnection, sender: LandmarkSender} | null} */ #landmarks = null;
  /** @type {RTCRtpTransceiver | null} */ #sound = null;
  /** @type {MediaStreamTrack | null} */ #voice = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  #backoff = new Backoff();
  #stopped = false;
  #turn = 0;
  #failures = 0;
  #greeted = false;
  /** What the next session begins with: the id of a portrait of the server's. @type {() => Promise<string | null>} */
  portrait = async () => null;

  /** @param {import("./types.js").Config} config @param {() => string} profile  the secret that the view's link comes from */
  constructor(config, profile) {
    super();
    this.config = config;
    this.profile = profile;
    addEventListener("pagehide", () => this.leave());
    addEventListener("pageshow", (event) => { if (event.persisted) { this.#stopped = false; void this.start(); } });
    addEventListener("online", () => { if (!this.live) this.retryNow(); });
  }

  get live() { return this.pc?.connectionState === "connected"; }

  /** @param {string} name @param {unknown} detail */
  #emit(name, detail) { this.dispatchEvent(new CustomEvent(name, { detail })); }

  /** @param {Status["state"]} state @param {string} short @param {string} [text] */
  #status(state, short, text = short) { this.#emit("status", { state, short, text }); }

  async start() {
    const turn = ++this.#turn;
    clearTimeout(this.#timer);
    this.#drop();
    this.#status("connecting", "Connecting");
    try {
      await this.#connect(turn);
    } catch (error) {
      if (turn !== this.#turn) return;
      const refused = error instanceof Refused ? error : new Refused(0, "");
      this.#turn += 1;
      this.#drop();
      if (refused.status === 401) this.#status("ended", "Not connected", refused.message);
      else this.#wait("waiting", refused.status === 503 ? "Waiting for a place" : "Not connected", refused.message, refused.retryAfter);
    }
  }

  /** @param {number} turn */
  async #connect(turn) {
    if (!("RTCPeerConnection" in window)) { await this.#pictures(turn); return; }
    const pc = (this.pc = new RTCPeerConnection({ iceServers: this.config.iceServers, bundlePolicy: "max-bundle" }));
    this.#video = pc.addTransceiver(this.#camera ?? "video", { direction: this.config.panel ? "recvonly" : "sendrecv" });
    if (!this.config.panel) this.#sound = pc.addTransceiver(this.#voice ?? "audio", { direction: "sendonly" });
    const channel = (this.#channel = pc.createDataChannel("control"));
    pc.addEventListener("track", (event) => {
      if ("jitterBufferTarget" in event.receiver) event.receiver.jitterBufferTarget = 0;
      this.#emit("stream", event.streams[0] ?? new MediaStream([event.track]));
    });
    channel.addEventListener("message", (event) => this.#received(event.data));
    channel.addEventListener("close", () => { if (pc === this.pc) this.#lost("The connection was lost."); });
    pc.addEventListener("connectionstatechange", () => this.#changed(pc));
    await pc.setLocalDescription(await pc.createOffer());
    await gathered(pc);
    const answer = await this.#open(pc.localDescription?.sdp ?? "");
    if (turn !== this.#turn) { void this.#end(answer.id); return; }
    this.session = answer.id;
    await pc.setRemoteDescription({ type: "answer", sdp: answer.sdp });
    if (!pc.localDescription?.sdp.includes("a=candidate:")) {
      this.#failures = 2; // a machine without any network: WebRTC has no address to use, not even this machine's own
      this.#unreachable();
      return;
    }
    this.#timer = setTimeout(() => { if (pc === this.pc && !this.live) this.#unreachable(); }, ANSWER_MS);
    void watchOver(pc, () => isThere(`/api/sessions/${answer.id}`), () => { if (pc === this.pc) this.retryNow(); });
  }

  /** A session without WebRTC, which this browser does not have, or does not allow. @param {number} turn */
  async #pictures(turn) {
    const { id } = await this.#open(null);
    if (turn !== this.#turn) { void this.#end(id); return; }
    this.session = id;
    this.#watchPictures();
  }

  /** Pictures over HTTP, and the state with them. */
  #watchPictures() {
    const session = this.session;
    this.#status("live", "Live (pictures)");
    this.#emit("fallback", `/api/sessions/${session}/preview`);
    const look = async () => {
      if (session !== this.session) return;
      try {
        const hello = await (await ask(`/api/sessions/${session}`)).json();
        if (session !== this.session) return;
        this.#emit("message", this.#greeted ? hello.state : hello);
        this.#greeted = true;
        this.#timer = setTimeout(look, PICTURES_MS);
      } catch {
        if (session === this.session) this.#lost("The connection was lost.");
      }
    };
    this.#greeted = false;
    void look();
  }

  /** @param {string | null} sdp @returns {Promise<{id: string, sdp: string}>} */
  async #open(sdp) {
    const portrait = await this.portrait();
    /** @param {string | null} portrait */
    const open = async (portrait) => (await ask("/api/sessions", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({
        sdp, type: "offer", source: this.#source, profile: this.profile(), ...(portrait ? { portrait } : {}),
      }),
    })).json();
    try {
      return await open(portrait);
    } catch (error) {
      if (!(portrait && error instanceof Refused && error.status === 404)) throw error;
      return open(null); // this server has no such portrait (any more)
    }
  }

  /** The server answers, but no media gets through: after two attempts show pictures over HTTP. */
  #unreachable() {
    this.#failures += 1;
    if (this.#failures >= 2 && this.session) {
      this.#watchPictures();
    } else {
      this.#turn += 1;
      this.#drop();
      this.#wait("waiting", "No video", "The server answers, but video does not get through");
    }
  }

  /** @param {RTCPeerConnection} pc */
  #changed(pc) {
    if (pc !== this.pc) return;
    if (pc.connectionState === "connected") {
      clearTimeout(this.#timer);
      this.#backoff.reset();
      this.#failures = 0;
      this.#status("live", "Live");
    } else if (pc.connectionState === "failed" || pc.connectionState === "closed") {
      if (this.session && this.#failures < 2) { this.#unreachableOrLost(pc); }
    } else if (pc.connectionState === "disconnected") {
      this.#status("connecting", "Connection weak");
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => {
        if (pc === this.pc && !this.live) this.#lost("The connection was lost.");
      }, DISCONNECTED_MS);
    }
  }

  /** @param {RTCPeerConnection} pc */
  #unreachableOrLost(pc) {
    if (pc.sctp?.state === "connected" || this.#channel?.readyState === "open") this.#lost("The connection was lost.");
    else this.#unreachable();
  }

  /** @param {string} text */
  #lost(text) {
    if (this.#stopped) return;
    this.#turn += 1;
    this.#drop();
    this.#wait("lost", "Connection lost", text);
  }

  /** Say what is the matter, and try again after a while. @param {"lost" | "waiting"} state @param {string} short @param {string} text @param {number} [asked] */
  #wait(state, short, text, asked = 0) {
    clearTimeout(this.#timer);
    const until = Date.now() + 1000 * this.#backoff.next(asked);
    const tell = () => {
      const left = Math.max(0, Math.round((until - Date.now()) / 1000));
      if (left === 0) { void this.start(); return; }
      this.#status(state, short, waitSentence(text, left));
      this.#timer = setTimeout(tell, Math.min(1000, until - Date.now()));
    };
    tell();
  }

  retryNow() { if (!this.#stopped) void this.start(); }

  /** @param {unknown} data */
  #received(data) {
    /** @type {ServerEvent} */
    let event;
    try { event = JSON.parse(String(data)); } catch { return; }
    if (event.type === "ended") this.#ended(event);
    this.#emit("message", event);
  }

  /** @param {{reason: string, limit_s: number | null}} ended */
  #ended({ reason, limit_s }) {
    const text = endedSentence(reason, limit_s ?? 0);
    if (reason === "too_long") {
      this.leave();
      this.#status("ended", "Session over", text);
    } else if (reason === "moved") {
      this.retryNow();
    } else {
      this.#turn += 1;
      this.#drop();
      this.#wait("waiting", "Session over", text);
    }
  }

  /** @param {Command} command */
  send(command) {
    if (this.#channel?.readyState === "open") { this.#channel.send(JSON.stringify(command)); return; }
    if (!this.session) return;
    ask(`/api/sessions/${this.session}/control`, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(command),
    }).then(async (response) => this.#emit("message", await response.json()), () => {});
  }

  /** @param {MediaStreamTrack | null} track  the camera, null to stop sending */
  async useCamera(track) {
    if (track) track.contentHint = "motion";
    await this.#drive(track, track ? "camera" : this.#voice ? "voice" : "sample");
  }

  /** No track, but landmarks: the caller sends them. */
  async useLandmarks() { await this.#drive(null, "landmarks"); }

  /** @param {MediaStreamTrack | null} track @param {"camera" | "landmarks" | "voice" | "sample"} source */
  async #drive(track, source) {
    this.#camera = track;
    this.#source = source;
    await this.#video?.sender.replaceTrack(track);
    this.send({ type: "source", source });
  }

  /** @param {import("./landmark-wire.js").Found} found */
  async sendLandmarks(found) {
    const pc = this.pc;
    if (!pc || !this.live || this.#source !== "landmarks") return;
    if (this.#landmarks?.pc !== pc) {
      this.#landmarks = { pc, sender: new LandmarkSender(pc.createDataChannel("landmarks", { ordered: false, maxRetransmits: 0 })) };
    }
    await this.#landmarks.sender.send(found);
  }

  /** @param {MediaStreamTrack | null} track  the microphone in the camera's place, null to stop sending */
  async useVoice(track) {
    this.#voice = track;
    if (track) track.contentHint = "speech";
    await this.#sound?.sender.replaceTrack(track);
    if (track) await this.#drive(null, "voice");
    else if (this.#source === "voice") await this.#drive(null, "sample");
  }

  #drop() {
    const pc = this.pc;
    this.pc = null;
    this.#channel = null;
    this.#video = this.#sound = null;
    pc?.close();
    if (this.session) void this.#end(this.session);
    this.session = null;
  }

  /** Whoever has the view open sees the portrait idle meanwhile. @param {string} id */
  async #end(id) {
    try { await fetch(`/api/sessions/${id}?linger=true`, { method: "DELETE", keepalive: true }); } catch { /* it will idle out */ }
  }

  leave() {
    this.#stopped = true;
    this.#turn += 1;
    clearTimeout(this.#timer);
    this.#drop();
  }
}
