// Who is there, how it is, and what it is doing.

import { act } from "./acts.js";
import { pulse, slots } from "./charts.js";
import { h } from "./dom.js";
import { ago, clean, count, length, mark, milliseconds, name, plural, rate } from "./words.js";

const MOST_CARDS = 8;
const URGENCY = ["down", "loading", "draining"];

/** A card each; many are a line each, what needs a look first, and the card is behind it. */
export function backends(state) {
  const all = Object.values(state.backends).sort((a, b) => a.name.localeCompare(b.name));
  const many = all.length > MOST_CARDS;
  if (many) all.sort((a, b) => urgency(a) - urgency(b));
  return h("section", { class: "panel", key: "backends", id: "backends", "aria-labelledby": "h-backends" },
    h("h2", { id: "h-backends" }, "Backends", h("small", null, count(all.length))),
    all.length ? h("ul", { class: many ? "rows" : "cards" }, all.map((view) => (many ? line : card)(view, state))) : nobody(state));
}

function urgency(view) {
  const at = URGENCY.indexOf(view.state);
  return at < 0 ? URGENCY.length : at;
}

function nobody(state) {
  return h("div", { class: "empty" },
    h("p", null, "No backend yet. Start Ollama, LM Studio, llama.cpp or vLLM and it shows up here, or run ",
      h("code", null, "nexus backends add URL"), "."),
    state.searching.length > 0 && h("p", { class: "muted" }, `Looking at ${state.searching.map(clean).join(", ")}`));
}

function card(view, state) {
  return h("li", { class: `card ${view.state}`, key: view.name },
    h("header", null,
      h("h3", null, name(view.name)),
      mark(view.state)),
    rest(view, state));
}

function line(view, state) {
  const score = scoreOf(view, state);
  const cell = (what, ...value) => h("span", { class: `n ${what}` }, value);
  return h("li", { class: `row ${view.state}`, key: view.name }, h("details", null,
    h("summary", null,
      mark(view.state),
      h("h3", null, name(view.name), view.warning && h("span", { class: "warn", title: clean(view.warning) }, " ▲")),
      view.state === "up" || view.in_flight > 0 || !view.reason ? [
        cell("busy", busy(view)),
        cell("first", view.first_token_ms !== null && [milliseconds(view.first_token_ms), h("small", null, " first")]),
        cell("speed", view.tokens_per_second !== null && [rate(view.tokens_per_second), h("small", null, " tok/s")]),
        cell("quality", score !== null && grade(score))]
        : h("span", { class: `reason ${view.state}` }, clean(view.reason))),
    h("div", { class: "card" }, rest(view, state))));
}

function rest(view, state) {
  return [
    h("p", { class: "muted small" }, clean(view.type), " · ", h("span", { class: "zone" }, `zone ${clean(view.zone)}`), view.is_cloud && " · cloud",
      view.version && ` · ${clean(view.version)}`),
    view.reason && view.state !== "up" && h("p", { class: `reason ${view.state}` }, clean(view.reason)),
    view.warning && h("p", { class: "reason draining brief", title: clean(view.warning) }, "▲ ", clean(view.warning)),
    h("dl", { class: "facts" }, facts(view, state)),
    lately(state.trends[view.name]),
    h("footer", null, buttons(view))];
}

function lately(trend) {
  if (!trend?.requests.some(Boolean)) return null;
  const span = length(trend.seconds * trend.requests.length);
  const top = Math.max(...trend.tokens_per_second);
  return h("figure", { class: "lately" },
    pulse(trend.tokens_per_second, `Tokens per second over the last ${span}, at most ${rate(top)}`),
    h("figcaption", null, h("span", null, `${span} ago`), h("span", null, `peak ${rate(top)} tok/s`), h("span", null, "now")));
}

/** What there is to say of it: nothing of what is not known, unless it is up and should be. */
function facts(view, state) {
  const score = scoreOf(view, state);
  const up = view.state === "up";
  const waits = waiting(view, state);
  const fact = (title, ...value) => h("div", null, h("dt", null, title), h("dd", null, value));
  return [
    (up || view.in_flight > 0) && fact("In flight", busy(view)),
    waits > 0 && fact("Waiting for it", count(waits)),
    (up || view.first_token_ms !== null) && fact("First token", milliseconds(view.first_token_ms)),
    view.tokens_per_second !== null && fact("Speed", `${rate(view.tokens_per_second)} tok/s`),
    (up || score !== null) && fact("Quality", score === null ? h("span", { class: "muted" }, "too few") : grade(score)),
    view.requests > 0 && fact("Requests", count(view.requests), view.failures > 0 && h("span", { class: "bad" }, `, ${count(view.failures)} failed`)),
    fact("Models", count(state.models[view.name]?.length ?? 0)),
    view.state === "down" && fact("Last seen", ago(view.last_seen, state.clock)),
  ];
}

function busy(view) {
  if (view.slots === null) return count(view.in_flight);
  return [slots(view.in_flight, view.slots, 10), " ", h("b", null, `${view.in_flight} of ${view.slots}`)];
}

function waiting(view, state) {
  return state.queue.filter((one) => one.waits_for.some((obstacle) => obstacle.backend === view.name)).length;
}

function scoreOf(view, state) {
  const own = Object.values(state.quality).filter((one) => one.backend === view.name && one.score !== null);
  const total = own.reduce((sum, one) => sum + one.day.requests, 0);
  return total ? own.reduce((sum, one) => sum + one.score * one.day.requests, 0) / total : null;
}

/** A score of 0 to 100, with a word for it. */
export function grade(score) {
  const [word, tone] = score >= 80 ? ["good", "good"] : score >= 50 ? ["fair", "warn"] : ["poor", "bad"];
  return h("span", { class: tone }, `${score.toFixed(0)} ${word}`);
}

function buttons(view) {
  const backend = view.name;
  const verb = (title, command, question) => h("button", {
    "aria-label": `${title} ${clean(view.name)}`, onclick: () => act(command, { backend }, question),
  }, title);
  return [
    !view.accepted && verb("Accept", "backend.accept", `Let ${clean(view.name)} have traffic?`),
    view.accepted && view.enabled && (view.drained
      ? verb("Resume", "backend.resume", `Let ${clean(view.name)} take requests again?`)
      : verb("Drain", "backend.drain", `Drain ${clean(view.name)}? Running requests finish, no new ones start.`)),
    verb("Check now", "backend.check"),
    view.pinned_models.length > 0 && h("span", { class: "muted small" }, `★ ${plural(view.pinned_models.length, "model")} pinned`),
  ];
}
