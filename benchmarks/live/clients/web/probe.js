// Times what a video shows and sounds like. Moments are seconds of the page's clock.

/** When the next picture of a video is shown. Rejects when none comes. */
function nextPicture(video, patience = 20) {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`no picture came in ${patience} s`)), 1000 * patience);
    video.requestVideoFrameCallback((now) => {
      clearTimeout(late);
      resolve(now / 1000);
    });
  });
}

/**
 * seen: [moment, brightness in a grid of 32 x 24] of each picture; heard: when each beep began, as it enters the
 * page's audio graph, before any loudspeaker. believed: by how many milliseconds the browser itself holds its sound to be
 * late, twice a second: from what it plays and the sender's reports.
 */
async function probe(video, seconds, begun) {
  const first = await nextPicture(video);
  const seen = [], heard = [], believed = [], end = first + seconds;
  const canvas = Object.assign(document.createElement("canvas"), { width: 32, height: 24 });
  const g = canvas.getContext("2d", { willReadFrequently: true });
  const look = (now) => {
    g.drawImage(video, 0, 0, 32, 24);
    const rgba = g.getImageData(0, 0, 32, 24).data;
    seen.push([now / 1000, Array.from({ length: 768 }, (_, k) => rgba[4 * k + 1])]);
    if (now / 1000 < end) video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);
  if (video.srcObject?.getAudioTracks().length) listen(video.srcObject, heard, end);
  const timer = setInterval(() => void believe(believed), 500);
  await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
  clearInterval(timer);
  return { first: first - begun, seen, heard, believed };
}

async function believe(believed) {
  for (const connection of window.connections ?? []) {
    const playing = {};
    for (const report of (await connection.getStats()).values())
      if (report.type === "inbound-rtp") playing[report.kind] = report.estimatedPlayoutTimestamp;
    if (playing.audio && playing.video) believed.push(playing.video - playing.audio);
  }
}

function listen(stream, heard, end) {
  const context = new AudioContext({ sampleRate: 48000 });
  const analyser = new AnalyserNode(context, { fftSize: 8192 });
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(8192);
  let loudAt = -Infinity;
  const timer = setInterval(() => {
    const at = context.currentTime, now = performance.now() / 1000;
    analyser.getFloatTimeDomainData(samples);
    for (let k = 0; k < samples.length; k++) {
      if (Math.abs(samples[k]) < 0.06) continue;
      const moment = at - (samples.length - k) / context.sampleRate;
      if (moment - loudAt > 0.5) heard.push(now - (at - moment));
      loudAt = Math.max(loudAt, moment);
    }
    if (now > end) {
      clearInterval(timer);
      context.close();
    }
  }, 40);
}
