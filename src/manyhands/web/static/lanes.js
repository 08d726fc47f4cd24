// The workers' time lines: for every measured interval, how much of it each worker computed, waited and held rounds.

import { svg } from "./tools.js";
import { numeral, ticks } from "./chart.js";

const ROW = 26, BAR = 16, HEAD = 26, AXIS = 30, LABEL = 84, RIGHT = 8;
const MOST_COLUMNS = 160;
const PARTS = ["compute", "wait", "merge"];

/** Note what a worker has measured: seconds of training, and of computing, waiting and rounds until then. */
export function addLane(lanes, [rank, end, compute, wait, merge]) {
  const lane = (lanes[rank] ??= []);
  lane.push({ end, compute, wait, merge });
  if (lane.length > 2 * MOST_COLUMNS) lanes[rank] = lane.filter((_, number) => number % 2 === 1 || number === lane.length - 1);
}

/** Draw the lanes of some runs, one below the other, over one axis of time. */
export function drawLanes(place, runs) {
  const shown = runs.filter((run) => run.lanes.length);
  const width = Math.max(place.clientWidth, 240);
  const rows = shown.reduce((sum, run) => sum + HEAD + ROW * run.lanes.length, 0);
  const height = Math.max(rows, ROW) + AXIS;
  const image = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": spoken(shown) });
  place.replaceChildren(image);
  if (!shown.length) {
    image.append(svg("text", { x: 0, y: 18 }, "Waiting for the first measurements…"));
    return;
  }
  const right = Math.max(...shown.flatMap((run) => run.lanes.flatMap((lane) => lane.map((each) => each.end))));
  const x = (seconds) => LABEL + (seconds / right) * (width - LABEL - RIGHT);
  let y = 0;
  for (const run of shown) {
    image.append(svg("text", { x: 0, y: y + 17, class: "strong" }, run.name));
    y += HEAD;
    run.lanes.forEach((lane, rank) => {
      drawLane(image, lane, x, y);
      image.append(svg("text", { x: 0, y: y + BAR - 3 }, `worker ${rank}`));
      y += ROW;
    });
  }
  const marks = ticks(0, right, Math.min(8, Math.floor(width / 90)));
  for (const value of marks.values) {
    const text = `${numeral(value, marks.step)} s`;
    image.append(svg("text", { x: x(value), y: y + 14, "text-anchor": value ? "middle" : "start" }, text));
  }
}

function drawLane(image, lane, x, y) {
  const end = x(lane[lane.length - 1].end);
  image.append(svg("rect", { x: x(0), y, width: Math.max(end - x(0), 0), height: BAR, rx: 2, class: "lane" }));
  for (const each of intervals(lane)) {
    const left = x(each.begin), width = Math.max(x(each.end) - left, 0.5);
    let bottom = y + BAR;
    for (const part of PARTS) {
      const high = (BAR * each[part]) / Math.max(each.end - each.begin, each.compute + each.wait + each.merge, 1e-9);
      if (high > 0) image.append(svg("rect", { x: left, y: bottom - high, width, height: high, class: part }));
      bottom -= high;
    }
  }
}

/** Return the differences between a lane's measurements, neighbours taken together if they are many. */
function intervals(lane) {
  const every = Math.ceil(lane.length / MOST_COLUMNS), found = [];
  let before = { end: 0, compute: 0, wait: 0, merge: 0 };
  lane.forEach((each, number) => {
    if (number % every !== every - 1 && number !== lane.length - 1) return;
    const parts = PARTS.map((part) => [part, Math.max(each[part] - before[part], 0)]);
    found.push({ begin: before.end, end: each.end, ...Object.fromEntries(parts) });
    before = each;
  });
  return found;
}

/** Return the shares of a worker's time, in words. */
export function shares(lane) {
  const { end, compute, wait, merge } = lane[lane.length - 1];
  const text = (value) => `${((100 * value) / Math.max(end, 1e-9)).toFixed(1)} %`;
  return `${text(compute)} computing, ${text(wait)} waiting, ${text(merge)} in rounds`;
}

function spoken(runs) {
  const texts = runs.flatMap((run) => run.lanes.map((lane, rank) => `${run.name}, worker ${rank}: ${shares(lane)}`));
  return texts.join(". ") || "No measurements yet";
}
