// One plain sentence for each thing that can go wrong: what happened, and what to do.
// @ts-check

/** @param {unknown} error  what getUserMedia threw */
export function cameraSentence(error) {
  const name = error instanceof DOMException ? error.name : "";
  if (!window.isSecureContext)
    return "Browsers give cameras to secure pages only: open this page as https, or at 127.0.0.1 on the machine itself.";
  switch (name) {
    case "NotAllowedError":
    case "SecurityError":
      return "The camera was not allowed. Allow it beside the address of this page, then press “Use my camera” again.";
    case "NotFoundError":
    case "OverconstrainedError":
      return "No camera was found. Plug one in and try again, or play the sample.";
    case "NotReadableError":
    case "AbortError":
      return "The camera is in use by another program. Close that program and try again.";
    default:
      return "The camera could not be opened. Try again, or play the sample.";
  }
}

/** @param {unknown} error  what getUserMedia threw */
export function microphoneSentence(error) {
  const name = error instanceof DOMException ? error.name : "";
  if (!window.isSecureContext)
    return "Browsers give microphones to secure pages only: open this page as https, or at 127.0.0.1 on the machine itself.";
  switch (name) {
    case "NotAllowedError":
    case "SecurityError":
      return "The microphone was not allowed. Allow it beside the address of this page, then press “My voice” again.";
    case "NotFoundError":
    case "OverconstrainedError":
      return "No microphone was found. Plug one in and try again, or play the sample.";
    case "NotReadableError":
    case "AbortError":
      return "The microphone is in use by another program. Close that program and try again.";
    default:
      return "The microphone could not be opened. Try again, or play the sample.";
  }
}

/**
 * @param {number} status  HTTP status of a refused request, 0 where the server was not reached
 * @param {string} detail  the server's own sentence
 */
export function serverSentence(status, detail) {
  switch (status) {
    case 0: return detail || "The server cannot be reached.";
    case 401: return "This link has no valid token. Open the link that the server printed when it started.";
    case 403: return detail || "The server refused this page.";
    case 413: return "That picture is too large.";
    case 429: return "That was a little fast. Wait a moment and try again.";
    case 503: return busySentence(detail);
    default: return detail || "The server could not do that.";
  }
}

/** Without the server's own figures: who waits is told one number, the seconds that are left. @param {string} detail */
function busySentence(detail) {
  if (!detail) return "The server is full.";
  return `${detail.replace(/\.?\s*Try again in \d+ seconds?\.?$/, "").replace(/^All \d+ places/, "All places").replace(/\.$/, "")}.`;
}

/** One sentence with one number. @param {string} text @param {number} seconds */
export function waitSentence(text, seconds) {
  return `${text.replace(/\.$/, "")}: trying again in ${seconds} s.`;
}

/** @param {number} seconds  "4 hours", "25 minutes", "40 seconds" */
export function span(seconds) {
  const [unit, size] = seconds >= 5400 ? ["hour", 3600] : seconds >= 90 ? ["minute", 60] : ["second", 1];
  const count = Math.max(1, Math.round(seconds / size));
  return `${count} ${unit}${count === 1 ? "" : "s"}`;
}

/** @param {string} reason  of the server's last message @param {number} limit  of a session, seconds */
export function endedSentence(reason, limit) {
  switch (reason) {
    case "too_long": return `This session has reached its limit of ${span(limit)}: reload the page to start another one.`;
    case "idle": return "The session was idle and has ended.";
    case "shutdown": return "The server is shutting down.";
    default: return "The session has ended.";
  }
}
