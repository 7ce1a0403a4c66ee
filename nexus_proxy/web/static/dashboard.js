// Listens to the gateway and draws what it says.

import { dialogs } from "./acts.js";
import { backends } from "./backends.js";
import { h, render } from "./dom.js";
import { models, operations } from "./models.js";
import { bar, problems, tiles } from "./overview.js";
import { quality } from "./quality.js";
import { queue, requests } from "./requests.js";
import { spend } from "./spend.js";
import { change, hear, onChange, readAddress, state } from "./store.js";
import { story } from "./story.js";

const FIRST_DELAY = 500;
const LONGEST_DELAY = 10_000;
const SILENCE = 15_000; // the gateway says something every five seconds, or it is gone

const root = document.getElementById("dashboard");
let isDrawn = false;
let isDue = false;

function draw() {
  isDue = false;
  if (!state.known) return;
  if (!isDrawn) root.replaceChildren();
  isDrawn = true;
  root.className = state.link.up ? "" : "stale";
  document.title = title();
  render(root, [
    h("a", { key: "skip", class: "skip", href: "#requests" }, "To the requests"),
    bar(state),
    h("main", { key: "main" }, problems(state), tiles(state), backends(state), queue(state), requests(state), models(state), operations(state),
      h("div", { class: "halves", key: "halves" }, spend(state), quality(state))),
    story(state),
    ...dialogs(state),
  ]);
  askStory();
}

function title() {
  if (!state.link.up) return "✕ Nexus: not connected";
  return `${state.problems.length ? "▲" : "◆"} Nexus: ${state.totals.in_flight} in flight`;
}

onChange(() => {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(draw);
});

/** Another sign-in is due once the cookie is over, which a socket that was refused cannot tell. */
async function checkAccess() {
  const answer = await fetch("/nexus/v1/commands", { method: "HEAD" }).catch(() => null);
  if (answer?.status === 401) location.reload();
}

function connect(delay = FIRST_DELAY) {
  const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`);
  let next = delay;
  let heard = performance.now();
  const watch = setInterval(() => performance.now() - heard > SILENCE && socket.close(), 1000);
  socket.onmessage = (event) => {
    heard = performance.now();
    next = FIRST_DELAY;
    take(JSON.parse(event.data));
  };
  socket.onclose = () => {
    clearInterval(watch);
    checkAccess();
    if (state.link.up || !state.link.since) change({ link: { up: false, since: state.clock } });
    setTimeout(connect, next, Math.min(next * 2, LONGEST_DELAY));
  };
}

function take(message) {
  if (message.type === "snapshot") {
    // A gateway of another version serves another page.
    if (state.known && message.version !== state.version) location.reload();
    change({ link: { up: true, since: message.now } });
  }
  hear(message);
}

let tellingOf = null;

/** Fetch what the live view leaves out of the open request, again once it has ended. */
async function askStory() {
  const id = state.open;
  const wanted = id && `${id} ${state.requests[id]?.phase}`;
  if (wanted === tellingOf) return;
  tellingOf = wanted;
  if (!id) return;
  try {
    const response = await fetch(`/nexus/v1/why/${encodeURIComponent(id)}`);
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error.message);
    if (state.open === id) change({ story: answer, storyProblem: null });
  } catch (error) {
    if (state.open === id) change({ storyProblem: error.message });
  }
}

addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.closest("input, dialog")) return;
  event.preventDefault();
  document.getElementById("filter")?.focus();
});
addEventListener("resize", () => change({})); // models are a matrix only where it fits
addEventListener("popstate", readAddress);
addEventListener("hashchange", readAddress);

setInterval(() => {
  if (!document.hidden && state.known) change({}); // clocks go on
}, 1000);
readAddress();
connect();
