// Measures from camera to display inside the page. Started by benchmarks/live/glass.py, which provides `exchange` (offer in,
// answer out) and `mark` (the measured time begins, ends) and passes the strip's geometry (see benchmarks/live/stamp.py).

function stampReader(geometry) {
  const { left, height, cells, check, leastContrast } = geometry;
  const px = 8; // each cell is drawn 8 x 8
  const canvas = new OffscreenCanvas(cells * px, px);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  return (video) => {
    const w = video.videoWidth, h = video.videoHeight;
    if (!w) return null;
    context.drawImage(video, left * w, 0, (1 - 2 * left) * w, height * h, 0, 0, cells * px, px);
    const data = context.getImageData(0, 0, cells * px, px).data;
    const mean = (cell) => {
      let sum = 0;
      for (let y = 2; y < 6; y++) for (let x = 2; x < 6; x++) sum += data[4 * (y * cells * px + cell * px + x) + 1];
      return sum / 16;
    };
    const white = mean(0), black = mean(1);
    if (white - black < leastContrast) return null;
    let word = 0;
    for (let c = 2; c < cells; c++) word = word * 2 + (mean(c) > (white + black) / 2 ? 1 : 0);
    const number = word >> check;
    return (word & 15) === ((number ^ (number >> 4) ^ (number >> 8) ^ 10) & 15) ? number : null;
  };
}

// Calls `seen(number, metadata, now)` for every frame of the video that is presented.
function watch(video, read, seen) {
  const step = (_, metadata) => {
    const number = read(video);
    seen(number, metadata, performance.now());
    video.requestVideoFrameCallback(step);
  };
  video.requestVideoFrameCallback(step);
}

const pick = (stats, keep) => {
  const out = {};
  for (const s of stats.values()) if (keep(s)) for (const [k, v] of Object.entries(s)) if (typeof v === "number") out[k] = v;
  return out;
};

async function measure({ geometry, seconds, warm, width, height, fps }) {
  const camera = await navigator.mediaDevices.getUserMedia({ video: { width, height, frameRate: fps }, audio: false });
  const [mine, theirs] = ["mine", "theirs"].map((id) => document.getElementById(id));
  mine.srcObject = camera;
  const peer = new RTCPeerConnection({ iceServers: [] });
  const remote = new Promise((done) => (peer.ontrack = (e) => done(e.streams[0] ?? new MediaStream([e.track]))));
  const track = camera.getVideoTracks()[0];
  const transceiver = peer.addTransceiver(track, { direction: "sendrecv", streams: [camera] });
  await peer.setLocalDescription(await peer.createOffer());
  await new Promise((done) => {
    if (peer.iceGatheringState === "complete") done();
    peer.onicegatheringstatechange = () => peer.iceGatheringState === "complete" && done();
  });
  const asked = performance.now();
  await peer.setRemoteDescription(await window.exchange({ type: "offer", sdp: peer.localDescription.sdp }));
  theirs.srcObject = await remote;
  await Promise.all([mine.play(), theirs.play()]);

  const captured = [], shown = [];
  let recording = false, firstShown = null;
  watch(mine, stampReader(geometry), (number, meta, now) => {
    if (recording && number !== null) captured.push([number, meta.captureTime ?? now, now]);
  });
  watch(theirs, stampReader(geometry), (number, meta, now) => {
    if (firstShown === null && number !== null) firstShown = now;
    if (recording && number !== null) shown.push([number, now, meta.expectedDisplayTime, meta.receiveTime ?? null, meta.presentedFrames]);
  });
  const sleep = (s) => new Promise((done) => setTimeout(done, 1000 * s));
  const stats = async () => {
    const all = await peer.getStats();
    return {
      at: performance.now(),
      inbound: pick(all, (s) => s.type === "inbound-rtp" && s.kind === "video"),
      outbound: pick(all, (s) => s.type === "outbound-rtp" && s.kind === "video"),
      pair: pick(all, (s) => s.type === "candidate-pair" && s.nominated),
      codec: [...all.values()].find((s) => s.type === "codec" && s.mimeType.startsWith("video"))?.mimeType ?? "",
    };
  };
  await sleep(warm);
  await window.mark();
  const before = await stats();
  recording = true;
  await sleep(seconds);
  recording = false;
  const after = await stats();
  await window.mark();
  const settings = track.getSettings();
  peer.close();
  track.stop();
  return {
    captured, shown, before, after,
    firstShown: firstShown === null ? null : firstShown - asked,
    camera: { width: settings.width, height: settings.height, frameRate: settings.frameRate },
    picture: { width: theirs.videoWidth, height: theirs.videoHeight },
    direction: transceiver.currentDirection,
  };
}
