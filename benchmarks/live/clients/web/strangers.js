// WHIP and WHEP libraries that others wrote, each used as its own documentation says. No STUN server is asked.
import { WHIPClient as EyevinnPublisher } from "@eyevinn/whip-web-client";
import { WebRTCPlayer } from "@eyevinn/webrtc-player";
import { WHIPClient } from "whip-whep/whip.js";
import { WHEPClient } from "whip-whep/whep.js";
import OtherPlayer from "whep-client";

/** The connections that the libraries make, for what the browser says of them. */
window.connections = [];
window.RTCPeerConnection = class extends window.RTCPeerConnection {
  constructor(...settings) {
    super(...settings);
    window.connections.push(this);
  }
};

const video = document.querySelector("video");

/** A camera and a microphone: the driver changes its face, and a beep begins, once a second. */
async function source() {
  const [rest, flash] = await Promise.all(["rest.png", "flash.png"].map(async (name) =>
    createImageBitmap(await (await fetch(name)).blob())));
  const canvas = Object.assign(document.createElement("canvas"), { width: rest.width, height: rest.height });
  const g = canvas.getContext("2d"), context = new AudioContext(), gain = new GainNode(context, { gain: 0 });
  const tone = new OscillatorNode(context, { frequency: 1000 }), sound = context.createMediaStreamDestination();
  tone.connect(gain).connect(sound);
  tone.start();
  await context.resume();
  const begun = Math.ceil(context.currentTime) + 1;
  for (let second = 0; second < 900; second++) {
    gain.gain.setValueAtTime(0.25, begun + second);
    gain.gain.setValueAtTime(0, begun + second + 0.1);
  }
  const draw = () => {
    const at = context.currentTime - begun;
    g.drawImage(at > 0 && at % 1 < 0.4 ? flash : rest, 0, 0);
  };
  draw();
  setInterval(draw, 1000 / 30);
  return new MediaStream([...canvas.captureStream(30).getTracks(), ...sound.stream.getTracks()]);
}

const play = (event) => {
  if (event.track.kind === "video") video.srcObject = event.streams[0];
};

window.publishers = {
  "@eyevinn/whip-web-client": async (endpoint, stream) => {
    const client = new EyevinnPublisher({ endpoint, opts: { iceServers: [] } });
    await client.setIceServersFromEndpoint();
    await client.ingest(stream);
    return () => client.destroy();
  },
  "whip-whep": async (endpoint, stream) => {
    const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    for (const track of stream.getTracks()) pc.addTransceiver(track, { direction: "sendonly" });
    const client = new WHIPClient();
    await client.publish(pc, endpoint);
    return () => client.stop();
  },
};

window.players = {
  "@eyevinn/webrtc-player": async (endpoint) => {
    const player = new WebRTCPlayer({ video, type: "whep", iceServers: [] });
    await player.load(new URL(endpoint));
    return () => player.unload();
  },
  "whip-whep": async (endpoint) => {
    const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    pc.addTransceiver("audio", { direction: "recvonly" });
    pc.addTransceiver("video", { direction: "recvonly" });
    pc.ontrack = play;
    const client = new WHEPClient();
    await client.view(pc, endpoint);
    return () => client.stop();
  },
  "whep-client": async (endpoint) => {
    const player = new OtherPlayer(endpoint, video, { urls: "turn:127.0.0.1:9", username: "none", credential: "none" });
    // It goes through a TURN server or not at all. There is none here, so that is taken back before it offers.
    player.peerConnection.setConfiguration({ iceServers: [], bundlePolicy: "max-bundle" });
    return () => player.closeConnection(); // it offers by itself, on `negotiationneeded`
  },
};

window.showItself = async () => {
  window.begun = performance.now() / 1000;
  video.srcObject = await source();
};

window.publish = async (name, endpoint) => {
  const stream = await source();
  window.begun = performance.now() / 1000;
  window.stop = await window.publishers[name](endpoint, stream);
};

window.watch = async (name, endpoint) => {
  window.begun = performance.now() / 1000;
  window.stop = await window.players[name](endpoint);
};
