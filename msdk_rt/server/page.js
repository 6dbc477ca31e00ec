"use strict";
/* The page of `msdk-rt serve`. The token comes after the # of the address, which no server and no log gets. */

const POLL = 400;  // milliseconds between questions
const at = id => document.getElementById(id);
let models = {}, chosen = [], job = null, upload = null;

function token() {
  return sessionStorage.getItem("token") || "";
}

async function ask(method, path) {
  const answer = await fetch(path, {method, headers: {Authorization: `Bearer ${token()}`}});
  if (!answer.ok) {
    const problem = (await answer.json()).error;
    throw Object.assign(new Error(problem.message), {kind: problem.kind});
  }
  return answer;
}

function say(text, failed = false) {
  at("status").textContent = text;
  at("status").classList.toggle("failed", failed);
}

function showBar(share) {
  at("bar").hidden = share === null;
  if (share === undefined) at("bar").removeAttribute("value");
  else if (share !== null) at("bar").value = share;
}

function showChannels() {
  at("channels").textContent = `takes ${models[at("model").value].channels.join(", ")}`;
}

function choose(files) {
  chosen = [...files].sort((a, b) => a.name.localeCompare(b.name, undefined, {numeric: true}));
  const channels = models[at("model").value].channels;
  at("chosen").textContent = chosen.map((file, index) =>
    (chosen.length === channels.length ? `${channels[index]}: ` : "") + file.name).join(", ");
  at("start").disabled = !chosen.length;
}

function working(is) {
  at("start").disabled = is || !chosen.length;
  at("cancel").disabled = !is;
  if (!is) showBar(null);
}

function send(model) {
  const form = new FormData(), series = at("series").value.trim();
  if (series) for (const rule of series.split(";")) form.append("series", rule.trim());
  for (const file of chosen) form.append("file", file, file.name);
  const request = upload = new XMLHttpRequest();
  request.open("POST", `jobs/${encodeURIComponent(model)}?view=true&format=${at("format").value}`);
  request.setRequestHeader("Authorization", `Bearer ${token()}`);
  request.responseType = "json";
  request.upload.onprogress = event => {
    say(`Uploading, ${(event.loaded / 1e6).toFixed(1)} MB`);
    if (event.lengthComputable) showBar(event.loaded / event.total);
  };
  return new Promise((resolve, reject) => {
    request.onload = () => request.status === 202 ? resolve(request.response)
      : reject(new Error(request.response ? request.response.error.message : `status ${request.status}`));
    request.onerror = () => reject(new Error("the server cannot be reached"));
    request.onabort = () => reject(new Error("cancelled"));
    request.send(form);
  });
}

async function follow() {
  for (;;) {
    job = await (await ask("GET", `jobs/${job.id}`)).json();
    const {done, total} = job.windows;
    if (job.state === "done") return;
    if (job.error) throw new Error(job.error.message);
    showBar(job.state === "running" && total ? done / total : undefined);
    say(job.state === "queued" ? "Waiting for its turn" : total ? `Window ${done} of ${total}` : "Reading");
    await new Promise(resolve => setTimeout(resolve, POLL));
  }
}

function showResult() {
  const volumes = Object.entries(job.labels).map(([name, {ml}]) => `${name} ${ml.toFixed(1)} ml`);
  say(`Done: ${volumes.join(", ")}`);
  at("warnings").replaceChildren(...job.warnings.map(sentence => {
    const item = document.createElement("li");
    item.textContent = sentence;
    return item;
  }));
  at("done").hidden = false;
  at("view").hidden = false;
  at("view").src = job.view;
}

async function segment(event) {
  event.preventDefault();
  at("done").hidden = at("view").hidden = true;
  at("view").removeAttribute("src");
  working(true);
  try {
    if (job) await ask("DELETE", `jobs/${job.id}`).catch(() => {});  // the one before, where it is still kept
    job = null;
    job = await send(at("model").value);
    await follow();
    showResult();
  } catch (error) {
    say(error.message, true);
  }
  upload = null;
  working(false);
}

async function cancel() {
  if (job) await ask("DELETE", `jobs/${job.id}`).catch(error => say(error.message, true));
  else if (upload) upload.abort();
}

async function save() {
  try {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await (await ask("GET", `jobs/${job.id}/result`)).blob());
    link.download = `labels.${at("format").value}`;
    link.click();
    URL.revokeObjectURL(link.href);
  } catch (error) {
    say(error.message, true);
  }
}

async function enter() {
  try {
    models = await (await ask("GET", "models")).json();
  } catch (error) {
    at("login").hidden = false;
    say(error.kind === "Unauthorized" ? "" : error.message, true);
    return;
  }
  at("login").hidden = true;
  at("case").hidden = false;
  at("model").replaceChildren(...Object.keys(models).map(name => new Option(name, name)));
  say("");
  showChannels();
  document.body.dataset.ready = "true";
}

function listen() {
  const drop = at("drop");
  for (const name of ["dragover", "dragleave", "drop"])
    window.addEventListener(name, event => {
      event.preventDefault();
      drop.classList.toggle("over", name === "dragover");
      if (name === "drop" && event.dataTransfer.files.length) choose(event.dataTransfer.files);
    });
  at("files").addEventListener("change", event => choose(event.target.files));
  at("model").addEventListener("change", () => { showChannels(); choose(chosen); });
  at("case").addEventListener("submit", segment);
  at("cancel").addEventListener("click", cancel);
  at("save").addEventListener("click", save);
  at("login").addEventListener("submit", event => {
    event.preventDefault();
    sessionStorage.setItem("token", at("token").value.trim());
    enter();
  });
}

if (location.hash.length > 1) {
  sessionStorage.setItem("token", decodeURIComponent(location.hash.slice(1)));
  history.replaceState(null, "", location.pathname);
}
listen();
enter();
