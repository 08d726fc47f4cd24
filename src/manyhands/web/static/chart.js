// Line charts as SVG: axes with round numbers, one line for each run.

import { svg } from "./tools.js";

const HEIGHT = 240, LEFT = 46, RIGHT = 12, TOP = 20, BOTTOM = 34;
const MOST_POINTS = 600;

/** Return round numbers that cover a range, about `wanted` of them. */
export function ticks(low, high, wanted) {
  const rough = (high - low || 1) / wanted, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999);
  const found = [];
  for (let number = Math.ceil(low / step - 1e-9); number <= high / step + 1e-9; number += 1) found.push(number * step || 0);
  return { values: found, step };
}

/** Return a number with as many digits as its axis needs. */
export function numeral(value, step) {
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/**
 * Draw a chart.
 *
 * place: the element to draw in. series: list of {name, kind, points: [[x, y], ...]}; kind is a class of the stylesheet.
 * options: {title, x: label, unit: of y, from: least upper end of y, to: whether y begins at 0}.
 */
export function drawChart(place, series, options) {
  const width = Math.max(place.clientWidth, 200);
  const image = svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, role: "img", "aria-label": spoken(series, options) });
  place.replaceChildren(image);
  const points = series.flatMap((each) => each.points);
  if (!points.length) {
    image.append(svg("text", { x: width / 2, y: HEIGHT / 2, "text-anchor": "middle" }, options.empty ?? "Waiting for the first numbers…"));
    return;
  }
  const scale = scales(points, width, options);
  axes(image, scale, width, options);
  for (const each of series) {
    if (!each.points.length) continue;
    const thin = Math.ceil(each.points.length / MOST_POINTS);
    const kept = each.points.filter((_, number) => number % thin === 0 || number === each.points.length - 1);
    const path = kept.map(([x, y]) => `${scale.x(x).toFixed(1)},${scale.y(y).toFixed(1)}`).join(" ");
    image.append(svg("polyline", { points: path, class: `line ${each.kind}` }));
    const [x, y] = kept[kept.length - 1];
    image.append(svg("circle", { cx: scale.x(x), cy: scale.y(y), r: 3.5, class: `dot ${each.kind}` }));
  }
  legend(image, series, width);
}

function scales(points, width, options) {
  const xs = points.map((point) => point[0]), ys = points.map((point) => point[1]);
  const right = Math.max(options.xMost ?? 0, ...xs) || 1;
  const top = options.top ?? (Math.max(...ys) || 1);
  const bottom = options.low ? Math.min(options.low(ys), top - 1e-6) : 0;
  return {
    right, top, bottom,
    x: (value) => LEFT + (value / right) * (width - LEFT - RIGHT),
    y: (value) => TOP + (1 - (Math.max(value, bottom) - bottom) / (top - bottom)) * (HEIGHT - TOP - BOTTOM),
  };
}

function axes(image, scale, width, options) {
  const marks = ticks(scale.bottom, scale.top, 4);
  for (const value of marks.values) {
    const y = scale.y(value);
    image.append(svg("line", { x1: LEFT, x2: width - RIGHT, y1: y, y2: y, class: "grid" }));
    const text = options.unit === "%" ? `${numeral(100 * value, 100 * marks.step)} %` : numeral(value, marks.step);
    image.append(svg("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, text));
  }
  const below = ticks(0, scale.right, Math.min(6, Math.floor(width / 70)));
  for (const value of below.values) {
    image.append(svg("text", { x: scale.x(value), y: HEIGHT - BOTTOM + 16, "text-anchor": "middle" }, numeral(value, below.step)));
  }
  image.append(svg("text", { x: width - RIGHT, y: HEIGHT - 2, "text-anchor": "end" }, options.x));
}

// One label for each kind of runs, with the mean of where they are.
function legend(image, series, width) {
  const kinds = new Map();
  for (const each of series) if (each.points.length) kinds.set(each.kind, [...(kinds.get(each.kind) ?? []), each]);
  let at = width - RIGHT;
  for (const [kind, runs] of [...kinds].reverse()) {
    const mean = runs.reduce((sum, run) => sum + run.points[run.points.length - 1][1], 0) / runs.length;
    const words = `${runs[0].name} ${runs[0].format(mean)}`;
    const text = svg("text", { x: at, y: 12, "text-anchor": "end", class: `label ${kind}` }, words);
    image.append(text);
    at -= text.getComputedTextLength() + 16;
  }
}

function spoken(series, options) {
  const ends = series.filter((each) => each.points.length).map((each) => `${each.name}: ${each.format(each.points[each.points.length - 1][1])}`);
  return `${options.title}. ${ends.join(", ") || "no numbers yet"}.`;
}
