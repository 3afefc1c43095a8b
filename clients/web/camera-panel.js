// The user's camera: turned on and off, chosen, and shown to him alone.
// @ts-check
import { listCameras, openCamera } from "./camera.js";
import { listDevices } from "./devices.js";
import { get } from "./elements.js";
import { FaceWay } from "./face-way.js";
import { say } from "./notices.js";
import { cameraSentence } from "./sentences.js";

const self = get("self", HTMLElement);
const view = get("camera-view", HTMLVideoElement);
const row = get("camera-row", HTMLElement);
const onButton = get("camera", HTMLButtonElement);
const offButton = get("camera-off", HTMLButtonElement);
const device = get("device", HTMLSelectElement);

/** Events: "change" when the camera was turned on, off, or another one taken. */
export class CameraPanel extends EventTarget {
  /** @type {MediaStream | null} */ #stream = null;
  #offered = true;
  /** The camera that was taken away while it was on: it is turned on again when it is back. @type {string | null} */ #lost = null;

  /** @param {import("./connection.js").Connection} connection */
  constructor(connection) {
    super();
    this.way = new FaceWay(connection);
    onButton.addEventListener("click", () => void this.start());
    offButton.addEventListener("click", () => void this.stop());
    device.addEventListener("change", () => void this.start());
    navigator.mediaDevices?.addEventListener("devicechange", () => void this.#back());
  }

  get stream() { return this.#stream; }

  get on() { return this.#stream !== null; }

  /** @param {boolean} offered  false where the server has a camera of its own, or video cannot get through */
  offer(offered) {
    this.#offered = offered;
    this.#show();
  }

  async start() {
    onButton.disabled = true;
    onButton.setAttribute("aria-busy", "true");
    try {
      const stream = await openCamera(device.value || undefined);
      this.#stream?.getTracks().forEach((track) => track.stop());
      this.#stream = stream;
      const track = stream.getVideoTracks()[0] ?? null;
      this.#lost = null;
      track?.addEventListener("ended", () => {
        say("The camera was unplugged or taken away. The avatar plays the sample until it is back.");
        const { deviceId } = track.getSettings();
        void this.stop().then(() => { this.#lost = deviceId ?? ""; });
      });
      view.srcObject = stream;
      this.#show();
      say("");
      await this.way.start(stream);
      listDevices(device, await listCameras(), track, "Camera");
    } catch (error) {
      say(cameraSentence(error));
    } finally {
      onButton.disabled = false;
      onButton.setAttribute("aria-busy", "false");
    }
  }

  /** Some device was plugged in or out. */
  async #back() {
    const lost = this.#lost;
    if (lost === null || !(await listCameras()).some((camera) => lost === "" || camera.deviceId === lost) || this.#lost === null) return;
    this.#lost = null;
    await this.start();
    if (this.on) say("The camera is back.", "note");
  }

  async stop() {
    this.#lost = null;
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#stream = null;
    view.srcObject = null;
    this.#show();
    await this.way.stop();
  }

  #show() {
    const focused = document.activeElement;
    const lost = focused === document.body || focused === onButton || row.contains(focused);
    const was = !row.hidden;
    self.hidden = row.hidden = !this.on;
    onButton.hidden = this.on || !this.#offered;
    if (lost && was !== this.on) (this.on ? offButton : onButton).focus(); // what had the focus is hidden now
    this.dispatchEvent(new CustomEvent("change"));
  }
}
