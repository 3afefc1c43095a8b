// Live figures below the avatar, once a second while they are wanted.
// @ts-check
import { get } from "./elements.js";
import { figures, rows } from "./stats.js";

const button = get("figures", HTMLButtonElement);
const list = get("live-figures", HTMLElement);

/**
 * @param {import("./connection.js").Connection} connection
 * @param {() => {server: import("./types.js").Stats | null, camera: boolean, finding: number | null}} known  finding: see `figures`
 */
export function wireFigures(connection, known) {
  /** @type {Map<string, any>} */
  let last = new Map();
  button.addEventListener("click", () => {
    list.hidden = !list.hidden;
    button.setAttribute("aria-pressed", String(!list.hidden));
  });
  setInterval(async () => {
    if (!connection.pc || list.hidden) { last = new Map(); return; }
    const report = new Map(/** @type {any} */ (await connection.pc.getStats()));
    const { server, camera, finding } = known();
    if (last.size) list.replaceChildren(...rows(figures(report, last, server, finding), server, camera).map(row));
    last = report;
  }, 1000);
}

/** @param {[string, string]} pair */
function row([name, value]) {
  const [pair, term, data] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
  if (!pair || !term || !data) throw new Error("no elements");
  term.textContent = name;
  data.textContent = value;
  pair.append(term, data);
  return pair;
}
