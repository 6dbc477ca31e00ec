"use strict";
/* The page of `msdk-rt view`. SUBJECT: title, table of labels, and where the two volumes are. */

const VIEWS = ["all", "axial", "coronal", "sagittal", "3D"];
const canvas = document.getElementById("canvas");
const status = document.getElementById("status");
const opacity = document.getElementById("opacity");
const rows = [...document.querySelectorAll("#labels tbody tr")];
const nv = new niivue.Niivue({
  backColor: [0, 0, 0, 1], crosshairColor: [1, 0.85, 0.2, 1], crosshairWidth: 1, isNearestInterpolation: true,
  dragAndDropEnabled: false, isColorbar: false, logLevel: "error", show3Dcrosshair: true, loadingText: "",
  multiplanarShowRender: niivue.SHOW_RENDER.ALWAYS, viewModeHotKey: "None", clipPlaneHotKey: "None",
  cycleClipPlaneHotKey: "None",
});

async function bytesOf(place) {
  if (place.base64 === undefined) {
    const answer = await fetch(place.path);
    if (!answer.ok) throw new Error(`${place.path}: ${answer.status}`);
    return answer.arrayBuffer();
  }
  const text = atob(place.base64), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes.buffer;
}

function colours() {
  const map = {R: [0], G: [0], B: [0], A: [0], I: [0], labels: [""]};
  SUBJECT.table.forEach((label, index) => {
    const shown = rows[index].querySelector("input").checked;
    const [r, g, b] = [1, 3, 5].map(i => parseInt(label.colour.slice(i, i + 2), 16));
    map.R.push(r); map.G.push(g); map.B.push(b); map.A.push(shown ? 255 : 0); map.I.push(label.value);
    map.labels.push(label.name);
  });
  return map;
}

function paint() {
  if (nv.volumes.length < 2) return;
  nv.volumes[1].setColormapLabel(colours());
  nv.setOpacity(1, Number(opacity.value));
  document.getElementById("percent").textContent = `${Math.round(100 * opacity.value)} %`;
}

function setView(name) {
  const type = {all: "MULTIPLANAR", axial: "AXIAL", coronal: "CORONAL", sagittal: "SAGITTAL", "3D": "RENDER"}[name];
  nv.setSliceType(niivue.SLICE_TYPE[type]);
  for (const button of document.querySelectorAll("[data-view]"))
    button.setAttribute("aria-pressed", String(button.dataset.view === name));
}

function goTo(at) {
  nv.scene.crosshairPos = nv.mm2frac(at);
  nv.drawScene();
  nv.createOnLocationChange();
}

function setWindow() {
  const image = nv.volumes[0];
  const [low, high] = ["low", "high"].map(id => Number(document.getElementById(id).value));
  if (!(high > low)) return;
  image.cal_min = low; image.cal_max = high;
  nv.updateGLVolume();
}

function step(by) {
  const at = nv.frac2mm(nv.scene.crosshairPos);
  goTo([0, 1, 2].map(axis => at[axis] + by[axis]));
}

function press(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const typing = event.target.matches("input[type=number]"), sliding = event.target.matches("input");
  const [x, y, z] = SUBJECT.step;
  const moves = {ArrowLeft: [-x, 0, 0], ArrowRight: [x, 0, 0], ArrowUp: [0, y, 0], ArrowDown: [0, -y, 0],
    PageUp: [0, 0, z], PageDown: [0, 0, -z]};
  if (typing) return;
  if (moves[event.key] && !sliding) step(moves[event.key]);
  else if (/^[1-5]$/.test(event.key)) setView(VIEWS[Number(event.key) - 1]);
  else if (event.key === "+" || event.key === "-") {
    opacity.value = Number(opacity.value) + (event.key === "+" ? 0.1 : -0.1);
    paint();
  } else if (event.key === "l") {
    const any = rows.some(row => row.querySelector("input").checked);
    for (const row of rows) row.querySelector("input").checked = !any;
    paint();
  } else if (event.key === "x") document.getElementById("cross").click();
  else return;
  event.preventDefault();
  event.stopPropagation();
}

function showPlace(place) {
  const at = [...place.mm].slice(0, 3).map(value => value.toFixed(1)).join(", ");
  const value = place.values[0] ? place.values[0].value : NaN;
  const label = place.values[1] && SUBJECT.table.find(row => row.value === Math.round(place.values[1].value));
  document.getElementById("place").textContent =
    `${at} mm (right, front, top) · intensity ${Number(value.toPrecision(4))}` + (label ? ` · ${label.name}` : "");
}

function listen() {
  for (const button of document.querySelectorAll("[data-view]"))
    button.addEventListener("click", () => setView(button.dataset.view));
  opacity.addEventListener("input", paint);
  for (const id of ["low", "high"]) document.getElementById(id).addEventListener("change", setWindow);
  document.getElementById("cross").addEventListener("change", event => {
    nv.opts.crosshairWidth = event.target.checked ? 1 : 0;
    nv.opts.show3Dcrosshair = event.target.checked;
    nv.drawScene();
  });
  rows.forEach((row, index) => {
    row.querySelector("input").addEventListener("change", paint);
    const go = row.querySelector("button");
    if (SUBJECT.table[index].at) go.addEventListener("click", () => goTo(SUBJECT.table[index].at));
    else go.disabled = true;
  });
  window.addEventListener("keydown", press, true);
  nv.onLocationChange = showPlace;
}

async function start() {
  await nv.attachToCanvas(canvas);
  const image = await niivue.NVImage.new(await bytesOf(SUBJECT.image), "image.nii.gz", "gray", 1);
  nv.addVolume(image);
  if (SUBJECT.labels) {
    const labels = await niivue.NVImage.new(await bytesOf(SUBJECT.labels), "labels.nii.gz", "gray", 0.5);
    labels.setColormapLabel(colours());
    nv.addVolume(labels);
  }
  document.getElementById("low").value = Number(image.cal_min.toPrecision(4));
  document.getElementById("high").value = Number(image.cal_max.toPrecision(4));
  listen();
  setView("all");
  paint();
  const first = SUBJECT.table.find(label => label.at);
  if (first) goTo(first.at); else nv.createOnLocationChange();
  status.textContent = "";
  document.body.dataset.ready = "true";
}

if (SUBJECT.alive) new EventSource(SUBJECT.alive);
start().catch(error => {
  status.textContent = `The volume cannot be shown: ${error.message || error}. A browser with WebGL 2 is needed.`;
  document.body.dataset.failed = String(error.message || error);
});
