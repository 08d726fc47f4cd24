// Photographs: the file to the server, the characters over the picture, corrections by click and by key.

import { $, element, fill, percent, post, postJson, say } from "./tools.js";

const LABEL = /^[0-9A-Za-z]$/;
const LEAST_WIDTH = matchMedia("(pointer: coarse)").matches ? 22 : 12; // of a character: what a finger or a mouse meets
const MOST_ZOOM = 4;

export function startPhotos(setup) {
  const sheet = $("sheet"), status = $("photo-status");
  let page = null, characters = [], buttons = [], chosen = -1, busy = false;
  const corrected = new Map(); // what is not stored yet, by the number of the character

  fill($("photo-alphabet"), setup.alphabets, "digits");
  $("keeper").hidden = !setup.corrections;

  async function read(file) {
    if (!file || busy) return;
    if (file.size > setup.most_bytes) {
      say(status, `This file is too large: at most ${Math.round(setup.most_bytes / 1e6)} MB are read.`, true);
      return;
    }
    busy = true;
    document.body.setAttribute("aria-busy", "true");
    say(status, "Reading…");
    try {
      show(await post(`/api/photo?alphabet=${$("photo-alphabet").value}`, file));
    } catch (error) {
      say(status, error.message, true);
    }
    busy = false;
    document.body.removeAttribute("aria-busy");
  }

  function show(found) {
    page = found;
    characters = page.lines.flatMap((line) => line.words.flatMap((word) => word.characters));
    for (const each of characters) each.read = each.text;
    corrected.clear();
    say($("store-status"), "");
    $("picture").src = page.picture;
    buttons = characters.map(button);
    sheet.replaceChildren($("picture"), ...buttons);
    const lost = characters.filter((each) => each.text === page.rejected).length;
    const doubt = lost ? `; ${lost} could not be read and ${lost === 1 ? "is" : "are"} marked` : "";
    say(status, characters.length ? `${characters.length} characters were read${doubt}.` : "No characters were found.");
    $("notes").replaceChildren(...page.notes.map((note) => element("li", {}, note)));
    $("page").hidden = false;
    zoom();
    choose(-1);
    showText();
  }

  // On a narrow screen the picture is wider than its window, if its characters were too small to be chosen.
  function zoom() {
    if (!page) return;
    const widths = characters.map(({ box: [left, , right] }) => right - left).sort((one, other) => one - other);
    const typical = widths[Math.floor(widths.length / 2)] ?? page.size[0];
    const wanted = (LEAST_WIDTH * page.size[0]) / (typical * Math.max(sheet.parentElement.clientWidth, 1));
    sheet.style.width = `${100 * Math.min(Math.max(wanted, 1), MOST_ZOOM)}%`;
    const first = Math.min(page.size[0], ...characters.map(({ box: [left] }) => left));
    sheet.parentElement.scrollLeft = (first / page.size[0]) * sheet.clientWidth - 24;
  }

  function button(character, number) {
    const [left, top, right, bottom] = character.box, [width, height] = page.size;
    const made = element("button", { type: "button", className: "char", tabIndex: number ? -1 : 0 });
    made.style.left = `${(100 * left) / width}%`;
    made.style.top = `${(100 * top) / height}%`;
    made.style.width = `${(100 * (right - left)) / width}%`;
    made.style.height = `${(100 * (bottom - top)) / height}%`;
    made.addEventListener("click", () => choose(number));
    made.addEventListener("keydown", (event) => key(event, number));
    label(made, character);
    return made;
  }

  function label(made, character) {
    const rejected = character.text === page.rejected, isNew = character.text !== character.read;
    made.dataset.label = rejected ? "?" : character.text;
    made.classList.toggle("rejected", rejected);
    made.classList.toggle("corrected", isNew);
    const guess = character.candidates[0];
    const said = rejected ? `could not be read, perhaps ${guess.text}` : character.text;
    made.setAttribute("aria-label", isNew ? `${said}, corrected` : `${said}, ${percent(guess.probability, 0)} sure`);
  }

  function key(event, number) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const steps = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 };
    if (event.key in steps) go(number + steps[event.key]);
    else if (LABEL.test(event.key)) { correct(number, event.key); go(number + 1); }
    else return;
    event.preventDefault();
  }

  function go(number) {
    if (number < 0 || number >= buttons.length) return;
    choose(number);
    buttons[number].focus();
  }

  function choose(number) {
    chosen = number;
    buttons.forEach((each, at) => {
      each.setAttribute("aria-pressed", at === number);
      each.tabIndex = at === Math.max(number, 0) ? 0 : -1;
    });
    $("corrector").hidden = number < 0;
    if (number >= 0) showCorrector(characters[number]);
  }

  function showCorrector(character) {
    const guess = character.candidates[0];
    const text = character.read === page.rejected ? `Not readable; perhaps ${guess.text}` : `Read as ${character.read}`;
    $("corrector-text").textContent = `${text}, ${percent(guess.probability)} sure.`;
    $("other").value = "";
    $("candidates").replaceChildren(
      ...character.candidates.slice(0, 6).map((each) => {
        const title = percent(each.probability), pressed = each.text === character.text;
        const made = element("button", { type: "button", title, "aria-pressed": pressed }, each.text);
        made.addEventListener("click", () => { correct(chosen, each.text); focusCandidate(each.text); });
        return made;
      }),
    );
    showCrop(character.box);
  }

  function focusCandidate(text) { // the buttons were made anew
    [...$("candidates").children].find((each) => each.textContent === text)?.focus();
  }

  function showCrop([left, top, right, bottom]) {
    const canvas = $("crop"), context = canvas.getContext("2d"), image = $("picture");
    const draw = () => {
      const scale = image.naturalWidth / page.size[0], margin = 4;
      const width = right - left + 2 * margin, height = bottom - top + 2 * margin, zoom = 72 / Math.max(width, height);
      context.fillStyle = "#fff";
      context.fillRect(0, 0, 72, 72);
      context.drawImage(
        image, (left - margin) * scale, (top - margin) * scale, width * scale, height * scale,
        (72 - width * zoom) / 2, (72 - height * zoom) / 2, width * zoom, height * zoom,
      );
    };
    if (image.complete && image.naturalWidth) draw();
    else image.addEventListener("load", draw, { once: true });
  }

  function correct(number, text) {
    const character = characters[number];
    character.text = text;
    corrected.set(number, text);
    label(buttons[number], character);
    showText();
    if (number === chosen) showCorrector(character);
  }

  function showText() {
    $("text").textContent = page.lines.map(lineText).join("\n");
    $("store").disabled = !$("keep").checked || corrected.size === 0;
  }

  // As the server's own lines: empty cells at the beginning of a row of a table keep the columns in line.
  function lineText(line) {
    return line.words
      .map((word, number) => {
        const spaces = number || word.characters[0].cell ? word.spaces : 0;
        return " ".repeat(spaces) + word.characters.map((each) => each.text).join("");
      })
      .join("");
  }

  async function store() {
    $("store").disabled = true;
    try {
      const { stored } = await postJson("/api/corrections", { key: page.key, labels: Object.fromEntries(corrected) });
      corrected.clear();
      say($("store-status"), stored === 1 ? "1 new picture is stored." : `${stored} new pictures are stored.`);
    } catch (error) {
      say($("store-status"), error.message);
    }
    showText();
  }

  for (const id of ["file", "camera"]) {
    $(id).addEventListener("change", (event) => { read(event.target.files[0]); event.target.value = ""; });
  }
  $("other").addEventListener("input", (event) => {
    if (LABEL.test(event.target.value)) correct(chosen, event.target.value);
  });
  window.addEventListener("resize", zoom);
  $("keep").addEventListener("change", () => page && showText());
  $("store").addEventListener("click", store);
  $("copy").addEventListener("click", async () => {
    if (navigator.clipboard) await navigator.clipboard.writeText($("text").textContent);
    else getSelection().selectAllChildren($("text")); // browsers copy for safe addresses only, such as localhost
    $("copy").textContent = navigator.clipboard ? "Copied" : "Selected";
    setTimeout(() => { $("copy").textContent = "Copy"; }, 1500);
  });

  const drop = $("drop");
  for (const name of ["dragenter", "dragover"]) {
    drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
  }
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    read(event.dataTransfer.files[0]);
  });
  for (const name of ["dragover", "drop"]) { // beside the target, the browser would leave the page for the file
    window.addEventListener(name, (event) => event.preventDefault());
  }
  window.addEventListener("paste", (event) => {
    if ($("photo-part").hidden) return;
    read([...(event.clipboardData?.files ?? [])].find((file) => file.type.startsWith("image/")));
  });
}
