// What runs and what ran, newest first, and who waits.

import { sliver } from "./charts.js";
import { h } from "./dom.js";
import { change, openStory } from "./store.js";
import { ago, clean, cost, count, duration, isRunning, mark, milliseconds, name, NONE, rate, speed } from "./words.js";

const STEP = innerWidth < 768 ? 10 : 25;
const CHOICES = {
  all: () => true,
  running: isRunning,
  failed: (one) => one.phase === "failed",
};

export function requests(state) {
  const wanted = state.filter.trim().toLowerCase();
  const all = Object.values(state.requests).sort((a, b) => b.started - a.started);
  const found = all.filter((one) => CHOICES[state.choice](one) && (!wanted || text(one).includes(wanted)));
  const shown = found.slice(0, state.shown);
  const longest = Math.max(...shown.map((one) => one.total_ms ?? (state.clock - one.started) * 1000), 1);
  return h("section", { class: "panel", key: "requests", id: "requests", "aria-labelledby": "h-requests" },
    h("h2", { id: "h-requests" }, "Requests", h("small", null, `newest ${count(all.length)}`)),
    h("div", { class: "tools" },
      h("div", { class: "choices", role: "group", "aria-label": "Which requests" },
        Object.keys(CHOICES).map((choice) => h("button", {
          "aria-pressed": String(state.choice === choice), onclick: () => change({ choice, shown: STEP }),
        }, choice, " ", h("small", null, count(all.filter(CHOICES[choice]).length))))),
      h("input", {
        type: "search", id: "filter", placeholder: "Filter  /", "aria-label": "Filter by model, backend, client or id",
        value: state.filter, oninput: (event) => change({ filter: event.target.value, shown: STEP }),
      })),
    shown.length ? table(shown, state, longest) : h("p", { class: "empty" }, nothing(state, all.length)),
    found.length > shown.length && h("button", { class: "more", onclick: () => change({ shown: state.shown + 2 * STEP }) },
      `Show more of ${count(found.length)}`));
}

function text(one) {
  return [one.id, one.model_asked, one.model, one.backend, one.client, one.key, one.endpoint, one.phase].join(" ").toLowerCase();
}

function nothing(state, total) {
  if (total) return "No request fits that.";
  return ["None yet. Point any OpenAI client at ", h("code", null, `${state.endpoint}/v1`), "."];
}

function table(shown, state, longest) {
  return h("table", { class: "stacks requests" },
    h("thead", null, h("tr", null,
      ["State", "Model", "Backend", "Started"].map((title) => h("th", { scope: "col" }, title)),
      ["First token", "Time", "Tokens", "tok/s", "Cost"].map((title) => h("th", { scope: "col", class: "n" }, title)))),
    h("tbody", null, shown.map((one) => row(one, state, longest))));
}

function row(one, state, longest) {
  const running = isRunning(one);
  // On a phone, what is not known is not shown.
  const cell = (label, props, ...children) =>
    h("td", { "data-label": label, ...props, class: `${props?.class ?? ""} ${children[0] === NONE ? "blank" : ""}`.trim() }, children);
  const pace = speed(one);
  return h("tr", { key: one.id, class: running ? "running" : "", onclick: (event) => event.target.closest("button") || openStory(one.id) },
    cell("State", { class: "lead" }, mark(one.phase)),
    cell("Model", { class: "what" },
      h("button", { class: "plainly", onclick: () => openStory(one.id), "aria-label": `Tell the story of request ${clean(one.id)}` }, name(one.model_asked)),
      one.model && one.model !== one.model_asked && h("small", null, "→ ", name(one.model)),
      one.error && h("small", { class: "bad", title: clean(one.error) }, clean(one.error))),
    cell("Backend", null, one.backend ? name(one.backend) : NONE),
    cell("Started", null, ago(one.started, state.clock)),
    cell("First token", { class: "n" }, milliseconds(one.first_token_ms)),
    cell("Time", { class: "n time" }, running ? duration(state.clock - one.started) : milliseconds(one.total_ms), sliver(one, state.clock, longest)),
    cell("Tokens", { class: "n" }, written(one)),
    cell("tok/s", { class: "n" }, pace === null ? NONE : rate(pace)),
    cell("Cost", { class: "n" }, cost(one)));
}

function written({ prompt_tokens: read, completion_tokens: said }) {
  return read === null && said === null ? NONE : `${count(read)} → ${count(said)}`;
}

/** Who waits for a slot; nothing while nobody does. */
export function queue(state) {
  return state.queue.length > 0 && h("section", { class: "panel", key: "queue", id: "queue", "aria-labelledby": "h-queue" },
    h("h2", { id: "h-queue" }, "Queue", h("small", null, `${count(state.queue.length)} waiting`)),
    h("table", { class: "stacks" },
      h("thead", null, h("tr", null, ["Place", "Model", "Priority", "Waits for"].map((title) => h("th", { scope: "col" }, title)),
        ["Waiting", "Still about"].map((title) => h("th", { scope: "col", class: "n" }, title)))),
      h("tbody", null, state.queue.map((one) => h("tr", { key: one.id },
        h("td", { "data-label": "Place", class: "lead" }, count(one.position)),
        h("td", { "data-label": "Model", class: "what" }, h("button", { class: "plainly", onclick: () => openStory(one.id) }, name(one.model))),
        h("td", { "data-label": "Priority" }, clean(one.priority)),
        h("td", { "data-label": "Waits for", class: "wide" }, one.waits_for.map((obstacle) => `${clean(obstacle.backend)}: ${clean(obstacle.why)}`).join("; ")),
        h("td", { "data-label": "Waiting", class: "n" }, duration(state.clock - one.since)),
        h("td", { "data-label": "Still about", class: "n" }, one.eta_seconds === null ? NONE : duration(one.eta_seconds)))))));
}

