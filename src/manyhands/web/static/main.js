// The page's parts, which of them is shown, and what the server offers.

import { $, ask } from "./tools.js";
import { startDrawing } from "./draw.js";
import { startPhotos } from "./photo.js";
import { startTraining } from "./train.js";

const PARTS = ["draw", "photo", "train"];

function show() {
  const chosen = PARTS.find((name) => `#${name}` === location.hash) ?? "draw";
  for (const name of PARTS) $(`${name}-part`).hidden = name !== chosen;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${chosen}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${$(`${chosen}-title`).textContent} – Manyhands`;
  window.scrollTo(0, 0);
  window.dispatchEvent(new Event("resize")); // what was hidden had no width
}

async function start() {
  window.addEventListener("hashchange", show);
  show();
  try {
    const setup = await ask("/api/setup");
    $("version").textContent = setup.version;
    startDrawing(setup);
    startPhotos(setup);
    startTraining(setup);
    document.body.dataset.ready = "true";
  } catch (error) {
    $("banner").textContent = `${error.message} Trying again…`;
    $("banner").hidden = false;
    setTimeout(() => location.reload(), 3000);
  }
}

start();
