// The cameras or microphones of this computer, as a list to choose from.
// @ts-check

/**
 * @param {HTMLSelectElement} select @param {MediaDeviceInfo[]} found @param {MediaStreamTrack | null} track  that is in use
 * @param {string} name  of one whose own the browser does not tell
 */
export function listDevices(select, found, track, name) {
  const used = track?.getSettings().deviceId;
  select.replaceChildren(...found.map((one, index) => {
    const option = new Option(one.label || `${name} ${index + 1}`, one.deviceId);
    option.selected = one.deviceId === used;
    return option;
  }));
}
