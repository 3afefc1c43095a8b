// What the server says on the control channel and at /api. The server's own schema: /api/control.schema.json.
export interface Direction { name: string; lo: number; hi: number; about: string; group: string; unit: string }
export interface Expression { name: string; about: string }
export interface Portrait { id: string; title: string; image: string; uploaded: boolean; views: string[] }
export interface FaceBox { x: number; y: number; width: number; height: number; cut: boolean }
export interface Look { image: string; width: number; height: number; turned: boolean; faces: FaceBox[] }
export type Source = "camera" | "landmarks" | "sample" | "motion" | "voice";
export type Background = "original" | "green" | "blur" | "own";
export type Shape = "" | "1:1" | "16:9" | "9:16" | "4:3" | "3:4";
export type Face = "tracking" | "holding" | "easing" | "resting" | "waiting";
export interface State {
  type: "state"; portrait: string; edits: Record<string, number>; paused: boolean; mirror: boolean;
  background: Background; blur: number; shape: Shape; source: Source; calibrated: boolean; face: Face;
  calibration: number; neutral: number[] | null; preparing: boolean;
  amplitude: Record<string, number>; hold_gaze: boolean; smoothing: number;
}
export interface Hello {
  type: "hello"; session: string; engine: string; device: string; size: number; fps: number; panel: boolean;
  directions: Direction[]; portraits: Portrait[]; expressions: Expression[]; state: State; view: string; drive: string;
  landmarks: boolean; shapes: string[]; views: number;
}
export interface Stats {
  type: "stats"; fps: number; received: number; rendered: number; dropped: number; no_face: number;
  encode_ms: number | null; render_ms: number | null; server_ms: number | null; sent_ms: number | null; engine: string; device: string;
  codec: string | null; bitrate: number | null; sessions: number; face: Face;
  calibration: number; fit: number | null; off: "" | "head" | "face";
  held_to: number | null; sparing: boolean;
}
export type Event =
  | Hello | State | Stats
  | { type: "error"; error: string }
  | { type: "pong"; t: number }
  | { type: "kept"; sequence: number }
  | { type: "portraits"; portraits: Portrait[] }
  | { type: "ended"; reason: string; limit_s: number | null };
export type Command =
  | { type: "set_edits"; values: Record<string, number> }
  | { type: "reset_edits" } | { type: "calibrate"; neutral?: number[] }
  | { type: "portrait"; id: string }
  | { type: "pause"; paused: boolean }
  | { type: "source"; source: Source }
  | { type: "mirror"; on: boolean }
  | { type: "background"; background: Background; strength: number }
  | { type: "shape"; shape: Shape }
  | { type: "amplitude"; values: Record<string, number> }
  | { type: "hold_gaze"; on: boolean }
  | { type: "smoothing"; amount: number }
  | { type: "expression"; name: string; on?: boolean; seconds?: number }
  | { type: "ping"; t: number };
/** The file of `docs/pages/presets.md`. key: of a picture that this browser keeps; it is in no file. */
export interface PresetPortrait { id?: string; picture?: string; title?: string; key?: string }
export interface Preset {
  format: string; version: number; name: string; portrait?: PresetPortrait;
  edits: Record<string, number>; amplitude: Record<string, number>; hold_gaze: boolean; smoothing: number; mirror: boolean;
  background: Background; blur: number; own_background?: string; shape: Shape; calibration?: { engine: string; neutral: number[] };
}
export interface Config { iceServers: RTCIceServer[]; panel: boolean; maxPixels: number; maxBytes: number; faceModel: string[] }
export interface Figures {
  fps: number | null; glassToGlass: number | null; jitterBuffer: number | null; roundTrip: number | null;
  uplink: string | null; downlink: string | null; width: number | null; height: number | null;
}
