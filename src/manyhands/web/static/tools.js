// Small helpers that all parts of the page share.

export const $ = (id) => document.getElementById(id);

/** Make an element with properties and children; texts are texts, never markup. */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

/** Make an SVG element. */
export function svg(name, attributes = {}, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  return made;
}

/** Fill a select with what the server offers. */
export function fill(select, offers, chosen) {
  select.replaceChildren(...offers.map((offer) => element("option", { value: offer.value }, offer.text)));
  if (chosen !== undefined) select.value = chosen;
}

/** Ask the server; its error messages become errors. */
export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The server cannot be reached.");
  }
  const found = await answer.json().catch(() => ({}));
  if (answer.ok) return found;
  const failure = new Error(found.error ? sentence(found.error) : `The server answers ${answer.status}.`);
  failure.status = answer.status;
  throw failure;
}

export const post = (path, body) => ask(path, { method: "POST", body });
export const postJson = (path, record) => post(path, JSON.stringify(record));

export const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)} %`;

/** Return a message as a sentence. */
export function sentence(text) {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

/** Show a message, as an error or not. */
export function say(place, text, isError = false) {
  place.textContent = text;
  place.classList.toggle("error", isError);
}

/** Return a function that calls another one soon, but at most once in some milliseconds, however often it is called. */
export function atMostEvery(milliseconds, action) {
  let waiting = false, last = -Infinity;
  return () => {
    if (waiting) return;
    waiting = true;
    setTimeout(() => {
      waiting = false;
      last = performance.now();
      action();
    }, Math.max(0, last + milliseconds - performance.now()));
  };
}
