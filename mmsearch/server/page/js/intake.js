// Files to search by, however they come: chosen, dropped, pasted, or recorded.
import * as api from "./api.js";
import { announce, byId, h, setIcon, toast } from "./dom.js";
import { bytes, clock } from "./format.js";

export const DRAGGED_ITEM = "application/x-mmsearch-item";

const LONGEST_RECORDING = 30; // seconds

/** Take files into the search box. `bounds` gives what the server takes. */
export function startIntake(terms, bounds) {
  const send = (file, label) => sendFile(terms, bounds(), file, label);
  const chooser = byId("files");
  byId("attach").addEventListener("click", () => chooser.click());
  chooser.addEventListener("change", () => {
    [...chooser.files].forEach((file) => send(file));
    chooser.value = "";
  });
  startDrop(terms, send);
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length || document.querySelector("dialog[open]")) return; // text goes where the cursor is
    event.preventDefault();
    files.forEach((file) => send(file, file.name === "image.png" ? "pasted picture" : file.name));
  });
  startRecorder(send);
}

async function sendFile(terms, bounds, file, label = file.name) {
  if (bounds && file.size > bounds.upload_bytes) {
    toast(`${label} has ${bytes(file.size)}; a file to search by has at most ${bytes(bounds.upload_bytes)}.`);
    return;
  }
  const chip = terms.expect(label);
  announce(`Sending ${label}`);
  try {
    chip.arrived(await api.upload(file, file.name), label);
  } catch (failed) {
    chip.failed();
    toast([`${label}: ${failed.message}`, failed.hint].filter(Boolean).join(". "));
  }
}

function startDrop(terms, send) {
  const over = byId("drop");
  let depth = 0; // enter and leave come for every element on the way
  const isOurs = (event) => ["Files", DRAGGED_ITEM].some((type) => event.dataTransfer?.types.includes(type));
  const end = () => {
    depth = 0;
    over.hidden = true;
  };
  addEventListener("dragenter", (event) => {
    if (!isOurs(event)) return;
    depth += 1;
    if (event.dataTransfer.types.includes("Files")) over.hidden = false;
  });
  addEventListener("dragleave", (event) => {
    if (isOurs(event) && --depth <= 0) end();
  });
  addEventListener("dragover", (event) => {
    if (isOurs(event)) event.preventDefault();
  });
  addEventListener("dragend", end);
  addEventListener("drop", (event) => {
    if (!isOurs(event)) return;
    event.preventDefault();
    end();
    const item = event.dataTransfer.getData(DRAGGED_ITEM);
    if (item) {
      if (event.target.closest?.(".ask")) {
        const { id, name, kind } = JSON.parse(item);
        terms.add({ item: id }, { name, kind });
      }
      return;
    }
    const files = [...event.dataTransfer.files];
    if (!files.length) toast("That is no file. Save it first, and drop the file.");
    files.forEach((file) => send(file));
  });
}

function startRecorder(send) {
  if (!navigator.mediaDevices?.getUserMedia || !globalThis.MediaRecorder) return; // no microphone, or no secure context
  const button = byId("record");
  const line = byId("recording");
  button.hidden = false;
  let recorder = null;
  let isKept = true;

  const show = (isOn) => {
    button.classList.toggle("is-recording", isOn);
    setIcon(button, isOn ? "stop" : "mic");
    button.querySelector(".hidden").textContent = isOn ? "Stop, and search by it" : "Record a sound";
    button.title = isOn ? "Stop, and search by it" : "Search by a sound: record it";
    line.hidden = !isOn;
  };

  async function start() {
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    } catch (failed) {
      toast(failed.name === "NotAllowedError" ? "The browser does not let this page listen. Allow the microphone in the address bar." : "There is no microphone to listen with.");
      return;
    }
    const parts = [];
    const began = performance.now();
    isKept = true;
    recorder = new MediaRecorder(stream);
    recorder.addEventListener("dataavailable", (event) => event.data.size && parts.push(event.data));
    const time = h("span", {}, "0:00");
    line.replaceChildren(h("span", { class: "dot" }), "Listening", time, h("span", { class: "note" }, "Esc throws it away"));
    const ticking = setInterval(() => {
      const seconds = (performance.now() - began) / 1000;
      time.textContent = clock(seconds);
      if (seconds >= LONGEST_RECORDING) recorder?.stop();
    }, 250);
    recorder.addEventListener("stop", () => {
      clearInterval(ticking);
      stream.getTracks().forEach((track) => track.stop());
      const type = recorder.mimeType.split(";")[0];
      recorder = null;
      show(false);
      if (!isKept) return;
      const suffix = { "audio/webm": "webm", "audio/ogg": "ogg", "audio/mp4": "m4a" }[type] ?? "webm";
      send(new File(parts, `recording.${suffix}`, { type }), `recording, ${clock((performance.now() - began) / 1000)}`);
    });
    recorder.start();
    show(true);
    announce("Listening");
  }

  button.addEventListener("click", () => (recorder ? recorder.stop() : start()));
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !recorder) return;
    event.preventDefault();
    isKept = false;
    recorder.stop();
    announce("Thrown away");
  });
}
