// A picture before it becomes a portrait: which face, how it is turned and cropped, and whose it is.
// @ts-check
import { get } from "./elements.js";
import { jpeg } from "./uploads.js";

/** @typedef {import("./types.js").Look} Look */
/** @typedef {import("./types.js").FaceBox} FaceBox */

/** Height of the crop for one of several faces, in heights of the face. */
const ROOM = 2.4;
const PREVIEW = 320;

const dialog = get("consent", HTMLDialogElement);
const canvas = get("consent-picture", HTMLCanvasElement);
const word = get("consent-word", HTMLElement);
const which = get("consent-faces", HTMLFieldSetElement);
const box = get("consent-box", HTMLInputElement);
const yes = get("consent-yes", HTMLButtonElement);
const [zoom, across, down] = /** @type {[HTMLInputElement, HTMLInputElement, HTMLInputElement]} */ (
  ["crop-zoom", "crop-x", "crop-y"].map((id) => get(id, HTMLInputElement)));

/** @type {HTMLCanvasElement} the whole picture, turned as it is wanted */
let whole = document.createElement("canvas");
let chosen = true;

/** The part that is wanted: all of it, or a square. @returns {{x: number, y: number, width: number, height: number}} pixels */
function part() {
  const { width, height } = whole;
  if (zoom.valueAsNumber <= 1) return { x: 0, y: 0, width, height };
  const side = Math.min(width, height) / zoom.valueAsNumber;
  return { x: across.valueAsNumber * (width - side), y: down.valueAsNumber * (height - side), width: side, height: side };
}

/** @param {HTMLCanvasElement} target @param {number} most  pixels of the longer side */
function paint(target, most) {
  const { x, y, width, height } = part();
  const scale = Math.min(1, most / Math.max(width, height));
  target.width = Math.round(width * scale);
  target.height = Math.round(height * scale);
  target.getContext("2d")?.drawImage(whole, x, y, width, height, 0, 0, target.width, target.height);
}

function show() {
  across.disabled = down.disabled = zoom.valueAsNumber <= 1;
  paint(canvas, PREVIEW);
  yes.disabled = !(box.checked && chosen);
}

/** @param {1 | -1} way */
function turn(way) {
  const turned = document.createElement("canvas");
  [turned.width, turned.height] = [whole.height, whole.width];
  const paper = turned.getContext("2d");
  if (!paper) return;
  paper.translate(turned.width / 2, turned.height / 2);
  paper.rotate(way * Math.PI / 2);
  paper.drawImage(whole, -whole.width / 2, -whole.height / 2);
  whole = turned;
  ask([]); // where the faces were is known no longer
  show();
}

/** Which of the faces? @param {FaceBox[]} faces */
function ask(faces) {
  chosen = faces.length < 2;
  which.hidden = chosen;
  which.replaceChildren(which.firstElementChild ?? "", ...(chosen ? [] : [...faces].sort((a, b) => a.x - b.x).map(option)));
}

/** @param {FaceBox} face @param {number} index */
function option(face, index) {
  const [label, input, picture] = [document.createElement("label"), document.createElement("input"), document.createElement("canvas")];
  input.type = "radio";
  input.name = "face";
  input.setAttribute("aria-label", `Face ${index + 1} from the left`);
  picture.width = picture.height = 72;
  const side = 1.3 * face.height * whole.height;
  const [x, y] = [(face.x + face.width / 2) * whole.width, (face.y + face.height / 2) * whole.height];
  picture.getContext("2d")?.drawImage(whole, x - side / 2, y - side / 2, side, side, 0, 0, 72, 72);
  input.addEventListener("change", () => {
    const wanted = Math.min(ROOM * face.height * whole.height, whole.width, whole.height);
    zoom.value = String(Math.max(1.01, Math.min(whole.width, whole.height) / wanted));
    const square = Math.min(whole.width, whole.height) / zoom.valueAsNumber;
    /** @param {number} middle @param {number} length */
    const place = (middle, length) => String(Math.min(1, Math.max(0, (middle - square / 2) / Math.max(1, length - square))));
    across.value = place(x, whole.width);
    down.value = place(y, whole.height);
    chosen = true;
    show();
  });
  label.append(input, picture);
  return label;
}

/** @param {Look} look */
function sentence(look) {
  if (look.faces.length === 0) return "No face was found in this picture. Turn it, or use another one.";
  if (look.faces.length > 1) return "";
  if (look.faces[0]?.cut) return "The picture's border cuts through the face; use one that shows all of it.";
  return look.turned ? "It lay on its side and is set upright." : "";
}

for (const input of [zoom, across, down, box]) input.addEventListener("input", show);
get("turn-left", HTMLButtonElement).addEventListener("click", () => turn(-1));
get("turn-right", HTMLButtonElement).addEventListener("click", () => turn(1));

/**
 * Ask what of a picture is wanted, and whose face it is.
 * @param {Promise<Look>} looked  what the server sees in it @param {boolean} consented  it was asked before
 * @returns {Promise<Blob | null>} the portrait, null where the user would not. Throws what `looked` throws.
 */
export async function edit(looked, consented) {
  whole = document.createElement("canvas");
  [zoom.value, across.value, down.value] = ["1", "0.5", "0.3"];
  box.checked = consented;
  chosen = false;
  word.textContent = "Looking at the picture";
  which.hidden = yes.disabled = true;
  canvas.hidden = true;
  dialog.setAttribute("aria-busy", "true");
  dialog.returnValue = "no";
  dialog.showModal();
  const closed = new Promise((resolve) => { dialog.addEventListener("close", resolve, { once: true }); });
  try {
    const look = await Promise.race([looked, closed.then(() => null)]);
    if (!look) return null;
    const picture = new Image();
    picture.src = look.image;
    await picture.decode();
    [whole.width, whole.height] = [look.width, look.height];
    whole.getContext("2d")?.drawImage(picture, 0, 0, look.width, look.height);
    ask(look.faces);
    word.textContent = sentence(look);
    canvas.hidden = false;
    dialog.setAttribute("aria-busy", "false");
    show();
    await closed;
    if (dialog.returnValue !== "yes") return null;
    const out = document.createElement("canvas");
    paint(out, Infinity);
    return await jpeg(out);
  } catch (error) {
    dialog.close();
    throw error;
  }
}
