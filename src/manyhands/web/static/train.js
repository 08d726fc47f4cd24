// Trainings: what is asked for, the stream of events that all browsers share, and what it looks like.

import { $, atMostEvery, element, fill, percent, post, postJson, say, sentence } from "./tools.js";
import { drawChart, numeral } from "./chart.js";
import { addLane, drawLanes, shares } from "./lanes.js";

const FIELDS = ["data", "strategy", "workers", "hidden", "epochs", "batch", "seeds"];
const RETRY_MILLISECONDS = 2000;
const FRAME = 500; // milliseconds: a browser on the same computer takes its time from the workers

export function startTraining(setup) {
  const form = $("train-form"), offers = setup.training;
  let state = nothing(), stale = true, boot = null, lastId = null, stream = null, retrying = 0;

  for (const name of FIELDS) fill(form.elements[name], offers[name], offers.defaults[name]);
  form.elements.sequential.checked = offers.defaults.sequential;

  function nothing() {
    return { id: "", running: false, title: "", note: "", data: "", request: null, runs: [], verdict: null, end: null };
  }

  // What each event changes. They come again after a reconnection, so nothing else keeps state.
  const changes = {
    begin(event) {
      state = { ...nothing(), running: true, title: event.title, request: event.request, note: "Getting ready…" };
    },
    note(event) { state.note = sentence(event.text); },
    ready(event) {
      state.data = event.data;
      state.runs = event.parts.map((part) => ({
        ...part, name: part.workers === 1 ? "1 worker" : `${part.workers} workers`, kind: part.workers === 1 && event.parts.some((each) => each.workers > 1) ? "one-worker" : "many",
        begun: false, ended: null, steps: 0, done: 0, byEpoch: new Map(), losses: [], times: [], points: [], lanes: [],
      }));
    },
    run(event) {
      Object.assign(state.runs[event.run], { begun: true, steps: event.steps });
      state.note = `Run ${event.run + 1} of ${state.runs.length}: ${event.text}, seed ${state.runs[event.run].seed}.`;
    },
    tick(event) {
      const run = state.runs[event.run];
      run.done = Math.min(...event.done);
      for (const each of event.losses) addLoss(run, each);
      run.points.push(...event.points);
      for (const each of event.lanes) addLane(run.lanes, each);
    },
    ended(event) {
      const run = state.runs[event.run];
      Object.assign(run, { ended: event, losses: event.losses, done: run.steps });
    },
    curve(event) { state.runs[event.run].points = event.points; },
    verdict(event) { finish("verdict", { verdict: event }); },
    stopped() { finish("stopped", { verdict: { text: "The training was stopped.", notes: [] } }); },
    failed(event) { finish("failed", { verdict: { text: sentence(event.text), notes: [] } }); },
  };

  function finish(end, more) { Object.assign(state, more, { end, running: false, note: "" }); }

  // The loss of an epoch is the mean over the workers, known when all have told theirs.
  function addLoss(run, [rank, epoch, loss, seconds]) {
    const told = run.byEpoch.get(epoch) ?? [];
    told.push(loss);
    if (rank === 0) run.times[epoch - 1] = seconds;
    if (told.length === run.workers) {
      run.losses[epoch - 1] = told.reduce((sum, each) => sum + each, 0) / told.length;
      run.byEpoch.delete(epoch);
    } else run.byEpoch.set(epoch, told);
  }

  const render = atMostEvery(FRAME, () => {
    document.body.dataset.training = state.id;
    $("start").disabled = state.running;
    $("stop").disabled = !state.running;
    const run = state.runs.findLast((each) => each.begun);
    const progress = $("progress");
    progress.hidden = !state.running;
    if (run?.steps) { progress.max = run.steps; progress.value = run.done; } else progress.removeAttribute("value");
    if (state.request) showStatus();
    $("train-steps").textContent = state.running && run?.steps ? `Step ${numeral(run.done, 1)} of ${numeral(run.steps, 1)}.` : "";
    $("watch").hidden = !state.request;
    showVerdict();
    if ($("train-part").hidden || !state.request) return; // drawn when it is seen: see the listener to resize
    if (!stale) return;
    stale = false;
    $("watch-data").textContent = state.data;
    showCharts();
    drawLanes($("lanes"), lanesShown());
    showRuns();
  });

  function redraw() { stale = true; render(); }

  // Steps are not in it: a screen reader says what changes here.
  function showStatus() {
    const ends = { verdict: "The training has ended.", stopped: "The training was stopped.", failed: "The training has failed." };
    const text = state.running ? state.note : ends[state.end];
    if ($("train-status").textContent !== text) say($("train-status"), text, state.end === "failed");
  }

  function showVerdict() {
    const box = $("verdict"), found = state.verdict;
    box.hidden = !found;
    box.classList.toggle("stopped", state.end === "stopped");
    box.classList.toggle("failed", state.end === "failed");
    if (!found || $("verdict-text").textContent === found.text) return; // said once, not at every change
    $("verdict-text").textContent = found.text;
    const problems = state.runs.map((run) => run.ended?.problem).filter(Boolean);
    $("verdict-notes").replaceChildren(...[...found.notes, ...new Set(problems)].map((note) => element("li", {}, note)));
  }

  const bySeconds = () => form.ownerDocument.querySelector("[name=axis]:checked").value === "seconds";

  function showCharts() {
    const seconds = bySeconds(), x = seconds ? "seconds of training" : "epochs";
    const xMost = seconds ? 0 : state.request.epochs;
    const losses = series((run) => run.losses.map((loss, number) => [seconds ? run.times[number] : number + 1, loss]).filter((point) => point.every(Number.isFinite)), (value) => value.toPrecision(3));
    const scores = series((run) => run.points.map((point) => [seconds ? point[2] : point[0], point[4]]), (value) => percent(value, 2));
    drawChart($("loss-chart"), losses, { title: "Training loss", x, xMost });
    const low = (ys) => Math.max(0, Math.floor(10 * [...ys].sort((one, other) => one - other)[Math.floor(ys.length / 10)] - 0.2) / 10);
    const waits = state.request.strategy === "one-shot" ? "Measured at the end, when the networks are averaged." : undefined;
    drawChart($("accuracy-chart"), scores, { title: "Accuracy on validation samples", x, xMost, unit: "%", top: 1, low, empty: waits });
  }

  const series = (points, format) => state.runs.map((run) => ({ name: run.name, kind: run.kind, points: points(run), format }));

  /** Return the runs of the last seed that has begun: one of several workers and one of one. */
  function lanesShown() {
    const last = state.runs.findLast((run) => run.begun);
    return last ? state.runs.filter((run) => run.seed === last.seed && run.begun) : [];
  }

  function showRuns() {
    $("runs").replaceChildren(...state.runs.map((run) => {
      const end = run.ended, waits = run.begun ? "…" : "";
      const cells = end
        ? [run.seed, end.seconds.toFixed(3), numeral(end.rounds, 1), bytes(end.bytes_sent), percent(end.accuracy, 2)]
        : [run.seed, waits, waits, waits, waits];
      const title = run.lanes.map((lane, rank) => `worker ${rank}: ${shares(lane)}`).join("\n");
      return element("tr", { title }, element("th", { scope: "row" }, run.name), ...cells.map((cell) => element("td", {}, `${cell}`)));
    }));
  }

  function bytes(number) {
    return number < 1e6 ? `${(number / 1e3).toFixed(0)} kB` : `${(number / 1e6).toFixed(1)} MB`;
  }

  function banner(text) {
    $("banner").textContent = text;
    $("banner").hidden = !text;
  }

  // The browser reconnects by itself, and names the last event it has seen; only a server that refuses ends that.
  function connect() {
    clearTimeout(retrying);
    stream?.close();
    stream = new EventSource(`/api/training/events${lastId ? `?after=${lastId}` : ""}`);
    stream.onmessage = (message) => receive(JSON.parse(message.data), message.lastEventId);
    stream.onerror = () => {
      banner("The connection to the server is lost. Trying again…");
      if (stream.readyState !== EventSource.CLOSED) return;
      retrying = setTimeout(connect, RETRY_MILLISECONDS);
    };
  }

  function receive(event, id) {
    if (event.kind === "hello") { greet(event); return; }
    lastId = id || lastId;
    stale ||= event.kind !== "tick" || [event.losses, event.lanes, event.points].some((list) => list.length);
    changes[event.kind]?.(event);
    if (event.kind === "begin") state.id = id;
    render();
  }

  function greet(event) {
    const isNew = boot !== null && boot !== event.boot;
    banner("");
    if (isNew) {
      state = nothing();
      lastId = null;
      say($("train-status"), "The server was started anew; its last training is gone.");
      render();
    }
    boot = event.boot;
    document.body.dataset.boot = boot;
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const asked = { sequential: form.elements.sequential.checked };
    for (const name of FIELDS) {
      const value = form.elements[name].value;
      asked[name] = offers[name].find((offer) => `${offer.value}` === value).value;
    }
    $("start").disabled = true;
    try {
      await postJson("/api/training", asked);
    } catch (error) {
      say($("train-status"), error.message, true);
      $("start").disabled = state.running;
    }
  });
  $("stop").addEventListener("click", async () => {
    $("stop").disabled = true;
    try {
      await post("/api/training/stop");
    } catch (error) {
      say($("train-status"), error.message, true);
      render();
    }
  });
  const lone = () => {
    const sequential = form.elements.strategy.value === "sequential";
    form.elements.workers.disabled = sequential;
    form.elements.sequential.disabled = sequential || form.elements.workers.value === "1";
  };
  form.elements.strategy.addEventListener("change", lone);
  form.elements.workers.addEventListener("change", lone);
  lone();
  for (const each of document.querySelectorAll("[name=axis]")) each.addEventListener("change", redraw);
  window.addEventListener("resize", redraw);
  // A browser opens few connections to one server: tabs that nobody sees must not hold one of them.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { clearTimeout(retrying); stream?.close(); } else connect();
  });
  connect();
}
