// @ts-check
import { jpeg } from "./uploads.js";

/** @param {string} [device]  id of the camera, the default one without it */
export async function openCamera(device) {
  if (!navigator.mediaDevices?.getUserMedia) throw new DOMException("no cameras here", "SecurityError");
  return navigator.mediaDevices.getUserMedia({
    audio: false,
    video: {
      ...(device ? { deviceId: { exact: device } } : { facingMode: "user" }),
      width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 },
    },
  });
}

/** Cameras of this device; their names are known once one was allowed. */
export async function listCameras() {
  const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  return devices.filter((device) => device.kind === "videoinput" && device.deviceId);
}

/**
 * What the video shows now, as a JPEG.
 * @param {HTMLVideoElement} video
 * @returns {Promise<Blob>}
 */
export async function snapshot(video) {
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d")?.drawImage(video, 0, 0);
  return jpeg(canvas);
}
