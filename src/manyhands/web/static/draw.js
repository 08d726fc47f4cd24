// Drawing: strokes on a canvas, their bitmap to the server while one draws, the answer as bars.

import { $, atMostEvery, element, fill, percent, post, say } from "./tools.js";

const PEN = 0.085; // width of the pen, as a share of the side: about what scanned digits have
const STEP = 0.02, FAR = 0.08;
const FRAME = 15; // milliseconds
const MOST_BARS = 10;

export function startDrawing(setup) {
  const pad = $("pad"), context = pad.getContext("2d");
  const side = setup.side, ink = element("canvas", { width: side, height: side });
  const inkContext = ink.getContext("2d", { willReadFrequently: true });
  const strokes = []; // each a list of points, with coordinates from 0 to 1
  let current = null, pointer = null, asking = false, again = false, drawn = 0;
  const pen = { x: 0.3, y: 0.3, down: false, shown: false };

  fill($("draw-alphabet"), setup.alphabets, "digits");

  function paint(target, width, colour) {
    target.lineCap = target.lineJoin = "round";
    target.lineWidth = PEN * width;
    target.strokeStyle = colour;
    for (const stroke of strokes) {
      target.beginPath();
      target.moveTo(stroke[0][0] * width, stroke[0][1] * width);
      for (const [x, y] of stroke) target.lineTo(x * width, y * width);
      target.stroke();
    }
  }

  const render = atMostEvery(FRAME, () => {
    const style = getComputedStyle(document.documentElement);
    context.clearRect(0, 0, pad.width, pad.height);
    paint(context, pad.width, style.getPropertyValue("--pen"));
    if (pen.shown) showPen(style.getPropertyValue("--accent"));
    $("undo").disabled = $("clear").disabled = strokes.length === 0;
  });

  function showPen(colour) {
    const x = pen.x * pad.width, y = pen.y * pad.height, reach = 0.05 * pad.width;
    context.strokeStyle = context.fillStyle = "#2f5fd0";
    context.lineWidth = 3;
    context.beginPath();
    context.moveTo(x - reach, y); context.lineTo(x + reach, y);
    context.moveTo(x, y - reach); context.lineTo(x, y + reach);
    context.stroke();
    context.beginPath();
    context.arc(x, y, pen.down ? reach / 2 : reach / 5, 0, 7);
    context.fill();
  }

  function bitmap() {
    inkContext.fillStyle = "#000";
    inkContext.fillRect(0, 0, side, side);
    paint(inkContext, side, "#fff");
    const pixels = inkContext.getImageData(0, 0, side, side).data;
    return Uint8Array.from({ length: side * side }, (_, number) => pixels[4 * number]);
  }

  // One question at a time: while it is being answered, newer strokes wait, and older ones are not asked about.
  async function recognize() {
    if (asking) { again = true; return; }
    if (!strokes.length) { forget(); return; }
    asking = true;
    const generation = drawn, asked = performance.now();
    try {
      const found = await post(`/api/draw?alphabet=${$("draw-alphabet").value}`, bitmap());
      pad.dataset.milliseconds = (performance.now() - asked).toFixed(1);
      if (generation === drawn) showAnswer(found);
    } catch (error) {
      if (error.status === 429) again = true; // others are being served
      else say($("best-text"), error.message, true);
    }
    asking = false;
    if (again) { again = false; setTimeout(recognize, 0); }
  }

  function forget() {
    $("best").textContent = "\u00a0";
    $("seen").getContext("2d").clearRect(0, 0, 28, 28);
    $("bars").replaceChildren();
    delete pad.dataset.answer;
    say($("best-text"), "Nothing drawn yet.");
  }

  function showAnswer(found) {
    if (!found.candidates.length) { forget(); return; } // a dot that is too small to be anything
    const [text, probability] = found.candidates[0];
    $("best").textContent = text;
    pad.dataset.answer = text;
    // Read out when the pen is lifted: nobody wants to hear every guess on the way.
    if (!current && !pen.down) say($("best-text"), `${text}, ${percent(probability, 0)} sure`);
    showSeen(found.image);
    showBars(found.candidates);
  }

  function showSeen(rows) {
    const seen = $("seen").getContext("2d"), image = seen.createImageData(28, 28);
    rows.flat().forEach((value, number) => image.data.set([value, value, value, 255], 4 * number));
    seen.putImageData(image, 0, 0);
  }

  function showBars(candidates) {
    const best = candidates[0][0];
    const shown = candidates.slice(0, MOST_BARS);
    if (candidates.length <= MOST_BARS) shown.sort((one, other) => (one[0] < other[0] ? -1 : 1));
    const list = $("bars");
    while (list.children.length > shown.length) list.lastChild.remove();
    while (list.children.length < shown.length) list.append(newBar());
    shown.forEach(([text, probability], number) => {
      const item = list.children[number], [name, track, share] = item.children;
      item.classList.toggle("first", text === best);
      name.textContent = text;
      track.firstChild.style.transform = `scaleX(${probability})`;
      share.textContent = percent(probability);
    });
  }

  function newBar() {
    const track = element("span", { className: "track" }, element("span", { className: "bar" }));
    return element("li", {}, element("span", { className: "name" }), track, element("span", { className: "share" }));
  }

  function changed() { render(); recognize(); }

  function place(event) {
    const box = pad.getBoundingClientRect();
    const inside = (value) => Math.min(Math.max(value, 0), 1);
    return [inside((event.clientX - box.left) / box.width), inside((event.clientY - box.top) / box.height)];
  }

  pad.addEventListener("pointerdown", (event) => {
    if (pointer !== null || (event.pointerType === "mouse" && event.button !== 0)) return; // one finger draws
    pointer = event.pointerId;
    pad.setPointerCapture(pointer);
    lift();
    pen.shown = false;
    current = [place(event)];
    strokes.push(current);
    changed();
  });
  pad.addEventListener("pointermove", (event) => {
    if (event.pointerId !== pointer || !current) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length ? events : [event]) current.push(place(each));
    changed();
  });
  for (const name of ["pointerup", "pointercancel"]) {
    pad.addEventListener(name, (event) => {
      if (event.pointerId !== pointer) return;
      pointer = current = null;
      changed();
    });
  }

  function lift() { pen.down = false; current = null; }

  function move(dx, dy) {
    pen.x = Math.min(Math.max(pen.x + dx, 0.02), 0.98);
    pen.y = Math.min(Math.max(pen.y + dy, 0.02), 0.98);
    if (pen.down) current.push([pen.x, pen.y]);
  }

  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  pad.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const arrow = ARROWS[event.key], step = event.shiftKey ? FAR : STEP;
    if (arrow) move(arrow[0] * step, arrow[1] * step);
    else if (event.key === " ") {
      if (pen.down) lift();
      else { pen.down = true; current = [[pen.x, pen.y]]; strokes.push(current); }
    } else if (event.key === "Backspace") undo();
    else if (event.key === "Delete") clear();
    else return;
    event.preventDefault();
    pen.shown = true;
    changed();
  });
  pad.addEventListener("focus", () => { pen.shown = pad.matches(":focus-visible"); render(); });
  pad.addEventListener("blur", () => { lift(); pen.shown = false; changed(); });

  function undo() { lift(); strokes.pop(); drawn += 1; }
  function clear() { lift(); strokes.length = 0; drawn += 1; forget(); }
  $("undo").addEventListener("click", () => { undo(); changed(); });
  $("clear").addEventListener("click", () => { clear(); changed(); pad.focus(); });
  $("draw-alphabet").addEventListener("change", () => { drawn += 1; recognize(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", render);
  render();
}
