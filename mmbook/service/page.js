// Draw or drop a picture; send it; show each word as it comes, and where the model looked.
"use strict";
const SHAPES = ["circle", "square", "triangle", "star", "cross", "ring"];
const COLOURS = {
  red: "rgb(219 38 41)", orange: "rgb(245 140 26)", yellow: "rgb(242 217 51)",
  green: "rgb(46 153 61)", cyan: "rgb(51 191 204)", blue: "rgb(41 82 204)",
  purple: "rgb(135 56 171)", black: "rgb(33 33 38)",
};
const SIZES = { big: 0.2, small: 0.11 };
const GROUND = "rgb(237 237 237)";
const $ = (id) => document.getElementById(id);
const canvas = $("canvas"), veil = $("veil"), side = canvas.width;
const cursor = { x: 0.5, y: 0.5, shown: false };
let things = [], photograph = null, words = [], request = null;

// ---------------------------------------------------------------- the picture

function outline(pen, shape, x, y, r) {
  const corners = (points) => points.forEach(([a, b], n) =>
    n ? pen.lineTo(x + a * r, y + b * r) : pen.moveTo(x + a * r, y + b * r));
  pen.beginPath();
  if (shape === "circle" || shape === "ring") pen.arc(x, y, r, 0, 7);
  if (shape === "ring") pen.arc(x, y, 0.52 * r, 0, 7);
  if (shape === "square") pen.rect(x - 0.85 * r, y - 0.85 * r, 1.7 * r, 1.7 * r);
  if (shape === "triangle") corners([[0, -1.1], [0.953, 0.55], [-0.953, 0.55]]);
  if (shape === "cross") {
    pen.rect(x - 0.95 * r, y - 0.3 * r, 1.9 * r, 0.6 * r);
    pen.rect(x - 0.3 * r, y - 0.95 * r, 0.6 * r, 1.9 * r);
  }
  if (shape === "star") {
    corners([...Array(10).keys()].map((n) => {
      const far = n % 2 ? 0.4725 : 1.05, angle = (n * Math.PI) / 5;
      return [far * Math.sin(angle), -far * Math.cos(angle)];
    }));
  }
}

function paintThing(pen, thing, scale) {
  outline(pen, thing.shape, thing.x * scale, thing.y * scale, SIZES[thing.size] * scale);
  pen.fillStyle = COLOURS[thing.colour];
  pen.fill(thing.shape === "ring" ? "evenodd" : "nonzero");
}

function paint() {
  const pen = canvas.getContext("2d");
  pen.fillStyle = GROUND;
  pen.fillRect(0, 0, side, side);
  if (photograph) {
    const { width: w, height: h } = photograph, short = Math.min(w, h);
    pen.drawImage(photograph, (w - short) / 2, (h - short) / 2, short, short, 0, 0, side, side);
  }
  for (const thing of things) paintThing(pen, thing, side);
  look(null);
}

function changed() {
  request?.abort();
  words = [];
  $("caption").textContent = "…";
  for (const id of ["note", "kept"]) $(id).textContent = "";
  $("right").value = "";  // it belongs to the picture before
  $("caption").ariaBusy = "false";
  paint();
}

function place(x, y) {
  const chosen = (name) => document.querySelector(`input[name=${name}]:checked`).value;
  const [shape, colour, size] = ["shape", "colour", "size"].map(chosen);
  things.push({ shape, colour, size, x, y });
  changed();
}

function randomScene() {
  const any = (list) => list[Math.floor(Math.random() * list.length)];
  const number = any([1, 2]);
  const drawn = () => {
    const size = any(Object.keys(SIZES)), r = SIZES[size];
    const at = () => r + Math.random() * (1 - 2 * r);
    return { shape: any(SHAPES), colour: any(Object.keys(COLOURS)), size, x: at(), y: at() };
  };
  const apart = ([a, b]) => !b || (
    Math.hypot(a.x - b.x, a.y - b.y) > SIZES[a.size] + SIZES[b.size] + 0.06 &&
    Math.abs(Math.abs(a.x - b.x) - Math.abs(a.y - b.y)) > 0.06);
  do things = Array.from({ length: number }, drawn); while (!apart(things));
  photograph = null;
  changed();
}

async function take(file) {
  try {
    photograph = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    $("note").textContent = "The browser cannot read this file as a picture.";
    return;
  }
  things = [];
  changed();
  describe();
}

const blob = () => new Promise((done) => {
  cursor.shown = false;
  paint();
  canvas.toBlob(done, "image/png");
});

// ---------------------------------------------------------------- the answer

function look(word) {
  const pen = veil.getContext("2d");
  pen.clearRect(0, 0, side, side);
  if (word) {
    const rows = word.map.length, columns = word.map[0].length;
    const most = Math.max(...word.map.flat());
    const small = new ImageData(columns, rows);
    word.map.flat().forEach((value, n) => { small.data[4 * n + 3] = 200 * (1 - value / most); });
    const cells = new OffscreenCanvas(columns, rows);
    cells.getContext("2d").putImageData(small, 0, 0);
    pen.imageSmoothingQuality = "high";
    pen.drawImage(cells, 0, 0, side, side);
  }
  if (cursor.shown) {
    const [x, y] = [cursor.x * side, cursor.y * side];
    pen.strokeStyle = "#1f56b8";
    pen.lineWidth = 3;
    pen.strokeRect(x - 10, y - 10, 20, 20);
  }
  for (const button of $("caption").children) {
    button.setAttribute("aria-pressed", String(button === word?.button));
  }
  $("about").textContent = word ? about(word)
    : words.length ? "Point at a word to see where the model looked." : "";
}

function about(word) {
  const most = word.map.flat().indexOf(Math.max(...word.map.flat()));
  const rows = word.map.length, columns = word.map[0].length;
  const third = (n, all, names) => names[Math.min(2, Math.floor((3 * (n + 0.5)) / all))];
  const y = third(Math.floor(most / columns), rows, ["upper", "middle", "lower"]);
  const x = third(most % columns, columns, ["left", "centre", "right"]);
  const where = y === "middle" && x === "centre" ? "centre" : `${y} ${x}`;
  const percent = Math.round(100 * word.probability);
  return `“${word.text.trim()}”: probability ${percent} %; looked most at the ${where}`;
}

function add(word) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "word";
  button.textContent = word.text.trim() || "␣";
  for (const kind of ["mouseenter", "focus", "click"]) {
    button.addEventListener(kind, () => look(word));
  }
  word.button = button;
  words.push(word);
  $("caption").append(button, " ");
  look(word);
}

const receive = {
  about(data) {
    $("version").textContent = `Version ${data.version}.`;
    $("note").textContent = data.unusual
      ? "This picture is unlike those that the model learned from: don’t trust the answer." : "";
  },
  word: add,
  end(data) {
    $("right").value = $("spoken").textContent = data.caption;
    $("caption").ariaBusy = "false";
    look(null);
  },
  error(data) {
    $("note").textContent = `The answer broke off: ${data.error}`;
    $("caption").ariaBusy = "false";
  },
};

async function reason(answer) {
  return (await answer.json().catch(() => ({}))).error ?? `${answer.status} ${answer.statusText}`;
}

async function describe() {
  changed();
  request = new AbortController();
  const { signal } = request;
  try {
    const body = await blob(), headers = { "Content-Type": "image/png" };
    const answer = await fetch("/stream", { method: "POST", body, headers, signal });
    if (!answer.ok) throw new Error(await reason(answer));
    $("caption").textContent = "";
    $("caption").ariaBusy = "true";
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let kept = "";
    for (let part; !(part = await reader.read()).done;) {
      const events = (kept + part.value).split("\n\n");
      kept = events.pop();
      for (const event of events) {
        const [name, data] = event.split("\ndata: ");
        receive[name.replace("event: ", "")](JSON.parse(data));
      }
    }
  } catch (error) {
    if (error.name !== "AbortError") $("note").textContent = `No answer: ${error.message}`;
  }
}

async function send(event) {
  event.preventDefault();
  const address = `/labels?caption=${encodeURIComponent($("right").value)}`;
  const headers = { "Content-Type": "image/png" };
  try {
    const answer = await fetch(address, { method: "POST", body: await blob(), headers });
    $("kept").textContent = answer.ok
      ? `Kept, thank you: label ${(await answer.json()).labels}.` : await reason(answer);
  } catch (error) {
    $("kept").textContent = `Not kept: ${error.message}`;
  }
}

// ---------------------------------------------------------------- what one can touch

function choices(id, name, values, drawn) {
  values.forEach((value, n) => {
    const label = document.createElement("label");
    label.className = "choice";
    label.title = value;
    const input = Object.assign(document.createElement("input"),
      { type: "radio", name, value, checked: n === 0 });
    input.setAttribute("aria-label", value);
    label.append(input, drawn(value));
    $(id).append(label);
  });
}

function icon(shape, colour) {
  const small = Object.assign(document.createElement("canvas"), { width: 64, height: 64 });
  small.setAttribute("aria-hidden", "true");
  const pen = small.getContext("2d");
  outline(pen, shape, 32, shape === "triangle" ? 39 : 32, 27);
  pen.fillStyle = COLOURS[colour];
  pen.fill(shape === "ring" ? "evenodd" : "nonzero");
  return small;
}

choices("shapes", "shape", SHAPES, (shape) => icon(shape, "black"));
choices("colours", "colour", Object.keys(COLOURS), (colour) => icon("square", colour));
choices("sizes", "size", Object.keys(SIZES), (size) =>
  Object.assign(document.createElement("span"), { textContent: size }));

canvas.addEventListener("click", (event) => {
  const box = canvas.getBoundingClientRect();
  place((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
});
canvas.addEventListener("keydown", (event) => {
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const step = steps[event.key], inside = (v) => Math.min(0.98, Math.max(0.02, v));
  if (step) {
    cursor.x = inside(cursor.x + 0.04 * step[0]);
    cursor.y = inside(cursor.y + 0.04 * step[1]);
    look(null);
  } else if (event.key === "Enter" || event.key === " ") place(cursor.x, cursor.y);
  else if (event.key === "Backspace" || event.key === "Delete") undo();
  else return;
  event.preventDefault();
});
canvas.addEventListener("focus", () => {
  cursor.shown = canvas.matches(":focus-visible");
  look(null);
});
canvas.addEventListener("blur", () => { cursor.shown = false; look(null); });

function undo() {
  if (!things.pop()) photograph = null;
  changed();
}

$("random").addEventListener("click", () => { randomScene(); describe(); });
$("undo").addEventListener("click", undo);
$("clear").addEventListener("click", () => { things = []; photograph = null; changed(); });
$("describe").addEventListener("click", describe);
$("form").addEventListener("submit", send);
$("file").addEventListener("change", (event) => {
  if (event.target.files[0]) take(event.target.files[0]);
  event.target.value = "";
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    $("stage").classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
}

randomScene();
describe();
