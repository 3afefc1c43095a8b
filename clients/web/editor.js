// A picture before it becomes a portrait: which face, how it is turned and cropped, and whose it is.
// @ts-check
import { Refused } from "./ask.js";
import { get } from "./elements.js";
import { jpeg } from "./uploads.js";

/** @typedef {import("./types.js").Look} Look */
/** @typedef {import("./types.js").FaceBox} FaceBox */

/** Height of the crop for one of several faces, in heights of the face. */
const ROOM = 2.4;
const PREVIEW = 320;
/** What is looked at again, after it was turned or cropped: so many pixels of the longer side, so long after. */
const LOOKED_AT = 1280;
const LOOK_MS = 350;

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
/** The part that is wanted shows one whole face. */
let fine = false;
/** Looks at a picture; none while the dialog is closed. @type {((picture: Blob) => Promise<Look>) | null} */
let eyes = null;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;

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
  allow();
}

function allow() { yes.disabled = !(box.checked && chosen && fine); }

/** @param {string} text @param {"trouble" | "note"} [kind] */
function tell(text, kind = "note") {
  word.dataset.kind = kind;
  word.textContent = text;
}

/** Another part is wanted: look at it again, in a moment. @param {boolean} [turned]  where the faces are is not known */
function lookAgain(turned = false) {
  clearTimeout(timer);
  fine = false;
  tell("Looking at the picture");
  show();
  timer = setTimeout(() => void seen(turned), LOOK_MS);
}

/** @param {boolean} turned */
async function seen(turned) {
  const [mine, looker, wanted] = [timer, eyes, part()];
  if (!looker) return;
  const shot = document.createElement("canvas");
  paint(shot, LOOKED_AT);
  /** @type {Look | null} */
  let found = null;
  let trouble = "";
  try {
    found = await looker(await jpeg(shot));
  } catch (error) {
    trouble = error instanceof Refused ? error.message : "";
  }
  if (mine !== timer || looker !== eyes) return; // it was moved since
  const faces = found?.faces ?? [];
  if (turned && found && !found.turned) ask(faces.map((face) => within(face, wanted)));
  else if (faces.length === 1) chosen = true;
  judge(found, trouble);
}

/** Where a face of a part is in the whole. @param {FaceBox} face @param {ReturnType<typeof part>} wanted @returns {FaceBox} */
function within(face, wanted) {
  const { width, height } = whole;
  return {
    ...face, x: (wanted.x + face.x * wanted.width) / width, y: (wanted.y + face.y * wanted.height) / height,
    width: face.width * wanted.width / width, height: face.height * wanted.height / height,
  };
}

/** Say what a look found. @param {Look | null} found  null: nobody could look; whoever is brought the picture judges @param {string} [trouble] */
function judge(found, trouble = "") {
  const wrong = found ? fault(found) : trouble;
  fine = !found || wrong === "";
  tell(wrong || (found?.turned ? "It lay on its side and is set upright." : ""), wrong ? "trouble" : "note");
  allow();
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
  lookAgain(true);
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
    lookAgain();
  });
  label.append(input, picture);
  return label;
}

/** Why a picture cannot be a portrait; "" where it can. @param {Look} found */
function fault({ faces }) {
  if (faces.length === 0) return "No face is found here. Turn the picture, come closer, or use another one.";
  if (faces.length === 1 && faces[0]?.cut) return "The picture's border cuts through the face; use one that shows all of it.";
  return "";
}

for (const input of [zoom, across, down]) input.addEventListener("input", () => lookAgain());
box.addEventListener("input", allow);
get("turn-left", HTMLButtonElement).addEventListener("click", () => turn(-1));
get("turn-right", HTMLButtonElement).addEventListener("click", () => turn(1));

/**
 * Ask what of a picture is wanted, and whose face it is.
 * @param {Blob} picture @param {(picture: Blob) => Promise<Look>} look  what the server sees in one
 * @param {boolean} consented  it was asked before
 * @param {boolean} [view]  it is another view of a portrait's person
 * @returns {Promise<Blob | null>} the portrait, null where the user would not. Throws what `look` throws.
 */
export async function edit(picture, look, consented, view = false) {
  get("consent-title", HTMLElement).textContent = view ? "Another view of the same person" : "Whose face is this?";
  yes.textContent = view ? "Add this view" : "Use this portrait";
  whole = document.createElement("canvas");
  [zoom.value, across.value, down.value] = ["1", "0.5", "0.3"];
  box.checked = consented;
  chosen = fine = false;
  tell("Looking at the picture");
  which.hidden = yes.disabled = true;
  canvas.hidden = true;
  dialog.setAttribute("aria-busy", "true");
  dialog.returnValue = "no";
  dialog.showModal();
  const closed = new Promise((resolve) => { dialog.addEventListener("close", resolve, { once: true }); });
  try {
    const found = await Promise.race([look(picture), closed.then(() => null)]);
    if (!found) return null;
    const image = new Image();
    image.src = found.image;
    await image.decode();
    [whole.width, whole.height] = [found.width, found.height];
    whole.getContext("2d")?.drawImage(image, 0, 0, found.width, found.height);
    ask(found.faces);
    eyes = look;
    canvas.hidden = false;
    dialog.setAttribute("aria-busy", "false");
    show();
    judge(found);
    await closed;
    if (dialog.returnValue !== "yes") return null;
    const out = document.createElement("canvas");
    paint(out, Infinity);
    return await jpeg(out);
  } catch (error) {
    dialog.close();
    throw error;
  } finally {
    eyes = null;
    clearTimeout(timer);
  }
}
