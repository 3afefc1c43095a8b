// The link to a clean view, for streaming programs.
// @ts-check
import { get } from "./elements.js";
import { say } from "./notices.js";

const background = get("view-background", HTMLSelectElement);
const open = get("open-view", HTMLAnchorElement);
const copy = get("copy-view", HTMLButtonElement);

/** @param {import("./connection.js").Connection} connection */
export function wireView(connection) {
  const address = () => {
    const query = background.value ? `?background=${background.value}` : "";
    return new URL(`/view/${connection.session}${query}`, location.href).href;
  };
  const refresh = () => {
    open.href = connection.session ? address() : "#";
    copy.disabled = !connection.live;
  };
  background.addEventListener("change", refresh);
  connection.addEventListener("status", refresh);
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(address());
      say("The link is copied.", "note");
    } catch {
      say(`Copy this link: ${address()}`, "note");
    }
  });
}
