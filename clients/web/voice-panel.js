// The user's microphone in the camera's place: turned on and off, chosen, and its loudness shown.
// @ts-check
import { listDevices } from "./devices.js";
import { get } from "./elements.js";
import { say } from "./notices.js";
import { microphoneSentence } from "./sentences.js";

const onButton = get("voice", HTMLButtonElement);
const offButton = get("voice-off", HTMLButtonElement);
const row = get("voice-row", HTMLElement);
const device = get("microphone", HTMLSelectElement);
const meter = get("voice-level", HTMLMeterElement);

/** Decibels under full scale that the meter begins at. */
const QUIETEST = -60;

/** Events: "change" when the microphone was turned on or off. */
export class VoicePanel extends EventTarget {
  /** @type {MediaStream | null} */ #stream = null;
  /** @type {AudioContext | null} */ #ear = null;
  #offered = true;

  /** @param {import("./connection.js").Connection} connection */
  constructor(connection) {
    super();
    this.connection = connection;
    onButton.addEventListener("click", () => void this.start());
    offButton.addEventListener("click", () => void this.stop());
    device.addEventListener("change", () => void this.start());
  }

  get on() { return this.#stream !== null; }

  /** @param {boolean} offered  false where sound cannot get through, or moves nothing */
  offer(offered) {
    this.#offered = offered;
    this.#show();
  }

  async start() {
    onButton.disabled = true;
    onButton.setAttribute("aria-busy", "true");
    try {
      if (!navigator.mediaDevices?.getUserMedia) throw new DOMException("no microphones here", "SecurityError");
      const stream = await navigator.mediaDevices.getUserMedia({
        video: false,
        audio: {
          ...(device.value ? { deviceId: { exact: device.value } } : {}),
          echoCancellation: true, noiseSuppression: true, autoGainControl: true,
        },
      });
      this.#release();
      this.#stream = stream;
      const track = stream.getAudioTracks()[0] ?? null;
      track?.addEventListener("ended", () => {
        say("The microphone was unplugged or taken away. The avatar plays the sample meanwhile.");
        void this.stop();
      });
      this.#watch(stream);
      this.#show();
      await this.connection.useVoice(track);
      const found = (await navigator.mediaDevices.enumerateDevices()).filter((one) => one.kind === "audioinput" && one.deviceId);
      listDevices(device, found, track, "Microphone");
      say("");
    } catch (error) {
      say(microphoneSentence(error));
    } finally {
      onButton.disabled = false;
      onButton.setAttribute("aria-busy", "false");
    }
  }

  async stop() {
    if (!this.on) return;
    this.#release();
    this.#show();
    await this.connection.useVoice(null);
  }

  #release() {
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#stream = null;
    void this.#ear?.close();
    this.#ear = null;
  }

  /** Show how loud it is. @param {MediaStream} stream */
  #watch(stream) {
    const ear = (this.#ear = new AudioContext());
    const analyser = ear.createAnalyser();
    analyser.fftSize = 1024;
    ear.createMediaStreamSource(stream).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    const look = () => {
      if (ear !== this.#ear) return;
      analyser.getFloatTimeDomainData(samples);
      const power = samples.reduce((sum, x) => sum + x * x, 0) / samples.length;
      meter.value = Math.max(0, 1 - (10 * Math.log10(power + 1e-9)) / QUIETEST);
      setTimeout(look, 80);
    };
    look();
  }

  #show() {
    const focused = document.activeElement;
    const lost = focused === document.body || focused === onButton || row.contains(focused);
    const was = !row.hidden;
    row.hidden = !this.on;
    onButton.hidden = this.on || !this.#offered;
    if (lost && was !== this.on) (this.on ? offButton : onButton).focus(); // what had the focus is hidden now
    this.dispatchEvent(new CustomEvent("change"));
  }
}
