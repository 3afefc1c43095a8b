// Chroma keying with WebGL: the server's key green becomes transparent.
// @ts-check

const VERTEX = `
attribute vec2 place; varying vec2 at;
void main() { at = vec2(place.x, 1.0 - place.y); gl_Position = vec4(place * 2.0 - 1.0, 0.0, 1.0); }`;
// A pixel on the outline is a mixture, c = a * person + (1 - a) * key. How much of it is key is read from its colour
// (Cb, Cr) along the key's; what is left when that is taken away is the person, multiplied by a already: no rim of
// green, and none of black or white, whatever lies behind. What green is left (spill on hair) goes down to its neighbours.
const FRAGMENT = `
precision mediump float;
uniform sampler2D picture; varying vec2 at;
const vec3 key = vec3(0.0, 0.694, 0.251);
vec2 chroma(vec3 c) { return vec2(-0.169 * c.r - 0.331 * c.g + 0.5 * c.b, 0.5 * c.r - 0.419 * c.g - 0.081 * c.b); }
void main() {
  vec3 c = texture2D(picture, at).rgb;
  vec2 k = chroma(key);
  float share = dot(chroma(c), k) / dot(k, k);
  float alpha = clamp((0.93 - share) / 0.87, 0.0, 1.0);
  vec3 person = clamp(c - key * (1.0 - alpha), 0.0, alpha);
  bool outline = alpha < 0.98;
  float left = max(0.0, person.g - (outline ? (person.r + person.b) / 2.0 : max(person.r, person.b) + 0.03));
  person.g -= left;
  if (outline) { // skin is the opposite of green: more of the pixel was key than its colour said
    person.b = max(0.0, person.b - left / key.g * key.b);
    alpha = max(alpha - left / key.g, max(person.r, max(person.g, person.b)));
  }
  gl_FragColor = vec4(person, alpha);
}`;

/**
 * Draw the video into the canvas without its green, for as long as the page lives.
 * @param {HTMLVideoElement} video @param {HTMLCanvasElement} canvas
 * @returns {boolean} false where the browser has no WebGL
 */
export function key(video, canvas) {
  const gl = canvas.getContext("webgl", { premultipliedAlpha: true, alpha: true, preserveDrawingBuffer: true });
  if (!gl) return false;
  const program = gl.createProgram();
  for (const [kind, source] of /** @type {[number, string][]} */ ([[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]])) {
    const shader = gl.createShader(kind);
    if (!shader) return false;
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) return false;
  gl.useProgram(program);
  gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([0, 0, 1, 0, 0, 1, 1, 1]), gl.STATIC_DRAW);
  const place = gl.getAttribLocation(program, "place");
  gl.enableVertexAttribArray(place);
  gl.vertexAttribPointer(place, 2, gl.FLOAT, false, 0, 0);
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  for (const parameter of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, parameter, gl.CLAMP_TO_EDGE);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR);

  const draw = () => {
    if (video.readyState >= 2) {
      if (canvas.width !== video.videoWidth) {
        canvas.width = video.videoWidth;
        canvas.height = video.videoHeight;
        gl.viewport(0, 0, canvas.width, canvas.height);
      }
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB, gl.RGB, gl.UNSIGNED_BYTE, video);
      gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
    }
    next();
  };
  const next = () => { if ("requestVideoFrameCallback" in video) video.requestVideoFrameCallback(draw); else requestAnimationFrame(draw); };
  next();
  return true;
}
