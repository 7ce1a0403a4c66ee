// Which model is where: a row for each model, a column for each backend that has any, or, where
// those do not fit beside each other, the backends of each model below it.

import { act } from "./acts.js";
import { share } from "./charts.js";
import { h } from "./dom.js";
import { change } from "./store.js";
import { ago, clean, context, count, duration, name, plural, tokens } from "./words.js";

const LEGEND = ["● loaded", "○ not loaded", "◇ there", "☁ runs elsewhere", "★ pinned: requests go there first"];
const NAME_REM = 18; // widths of the matrix's columns
const COLUMN_REM = 6.5;
const FRAME_REM = 6; // what is left and right of it
const MOST_REM = 84;
const STEP = 25;

export function models(state) {
  const backends = Object.keys(state.models).filter((one) => state.models[one].length).sort((a, b) => a.localeCompare(b));
  const byId = new Map();
  for (const backend of backends) {
    for (const model of state.models[backend]) {
      if (!byId.has(model.id)) byId.set(model.id, new Map());
      byId.get(model.id).set(backend, model);
    }
  }
  const wanted = state.modelFilter.trim().toLowerCase();
  const ids = [...byId.keys()].filter((id) => id.toLowerCase().includes(wanted)).sort((a, b) => a.localeCompare(b));
  const shown = ids.slice(0, state.shownModels);
  return h("section", { class: "panel", key: "models", id: "models", "aria-labelledby": "h-models" },
    h("h2", { id: "h-models" }, "Models", h("small", null, count(byId.size))),
    byId.size > STEP && h("div", { class: "tools" }, h("input", {
      type: "search", placeholder: "Filter", "aria-label": "Filter the models", value: state.modelFilter,
      oninput: (event) => change({ modelFilter: event.target.value, shownModels: STEP }),
    })),
    ids.length === 0 ? h("p", { class: "empty" }, byId.size ? "No model fits that." : "No backend lists a model.")
      : [(fits(backends.length) ? matrix : list)(shown, byId, backends, state),
        ids.length > shown.length && h("button", { class: "more", onclick: () => change({ shownModels: Infinity }) }, `Show all ${count(ids.length)}`),
        h("p", { class: "legend muted small" }, LEGEND.map((one) => h("span", null, one)))]);
}

function fits(columns) {
  const page = document.documentElement;
  const rem = parseFloat(getComputedStyle(page).fontSize);
  return Math.min(page.clientWidth / rem, MOST_REM) - FRAME_REM >= NAME_REM + columns * COLUMN_REM;
}

function matrix(ids, byId, backends, state) {
  return h("table", { class: "matrix" },
    h("thead", null, h("tr", null, h("th", { scope: "col" }, "Model"),
      backends.map((one) => h("th", { scope: "col", key: one, class: "c" }, name(one))))),
    h("tbody", null, ids.map((id) => h("tr", { key: id },
      h("th", { scope: "row" }, title(id, byId.get(id), state)),
      backends.map((one) => h("td", { key: one, class: "c" }, byId.get(id).has(one) && cell(byId.get(id).get(one), one, state)))))));
}

function list(ids, byId, backends, state) {
  return h("ul", { class: "places" }, ids.map((id) => h("li", { key: id },
    h("h3", null, title(id, byId.get(id), state)),
    h("ul", null, backends.filter((one) => byId.get(id).has(one)).map((one) =>
      h("li", { key: one }, name(one), cell(byId.get(id).get(one), one, state)))))));
}

function title(id, where, state) {
  const can = new Set([...where.values()].flatMap((model) => model.can));
  if (can.has("chat")) can.delete("completions");
  const aliases = Object.entries(state.aliases).filter(([, target]) => target === id).map(([alias]) => alias);
  return [name(id),
    h("span", { class: "can" }, [...can].sort().map((one) => h("span", { class: "chip" }, clean(one.replace("_", " "))))),
    aliases.length > 0 && h("small", null, "also ", aliases.map((one, n) => [n > 0 && ", ", name(one)]))];
}

function cell(model, backend, state) {
  const pinned = state.pins[model.id] === backend;
  const [glyph, word] = model.remote ? ["☁", "runs elsewhere"] : model.loaded === null ? ["◇", "there"] : model.loaded ? ["●", "loaded"] : ["○", "not loaded"];
  const size = model.context_length ?? model.max_context;
  const facts = [word, `context ${context(model)} tokens`, model.quantization, model.parameters].filter(Boolean).map(clean).join(", ");
  const [verb, question] = pinned
    ? ["Unpin", `Let ${clean(model.id)} go to any backend again?`]
    : ["Pin", `Send ${clean(model.id)} to ${clean(backend)} first?`];
  return h("span", { class: "cell", title: facts },
    h("i", { class: model.loaded ? "good" : model.remote ? "warn" : "muted", "aria-label": word, role: "img" }, glyph),
    size ? ` ${tokens(size)}` : "",
    h("button", {
      class: `pin ${pinned ? "on" : ""}`, "aria-pressed": String(pinned), title: `${verb}: ${clean(model.id)} on ${clean(backend)}`,
      "aria-label": `${verb} ${clean(model.id)} on ${clean(backend)}`,
      onclick: () => act(pinned ? "backend.unpin" : "backend.pin", pinned ? { model: model.id } : { model: model.id, backend }, question),
    }, pinned ? "★" : "☆"),
    state.backends[backend]?.loads_when_told && model.loaded !== null && memory(model, backend));
}

function memory(model, backend) {
  const [word, verb] = model.loaded ? ["unload", "model.unload"] : ["load", "model.load"];
  return h("button", {
    class: "pin", "aria-label": `${word} ${clean(model.id)} on ${clean(backend)}`,
    onclick: () => act(verb, { model: model.id, backend }, `Do you want to ${word} ${clean(model.id)} on ${clean(backend)}?`),
  }, word);
}

/** Models that are loaded, unloaded or moved, and those that were; nothing where none was. */
export function operations(state) {
  return state.operations.length > 0 && h("section", { class: "panel", key: "operations", "aria-labelledby": "h-operations" },
    h("h2", { id: "h-operations" }, "Loading and unloading"),
    h("ul", { class: "rejections" }, state.operations.slice(0, 8).map((one) => h("li", { key: one.id },
      h("b", null, clean(one.kind)), " ", name(one.model), " on ", name(one.backend), one.target && [" to ", name(one.target)], ": ",
      h("span", { class: one.error ? "bad" : one.ended === null ? "info" : "muted" }, clean(one.phase)), " ",
      one.ended === null
        ? h("span", { class: "muted" }, `for ${duration(state.clock - one.phase_since)}`, one.eta_seconds !== null && `, usually ${duration(one.eta_seconds)}`, one.waits_for > 0 && `, waits for ${plural(one.waits_for, "request")}`)
        : h("span", { class: "muted" }, ago(one.ended, state.clock)),
      one.phase === "loading" && one.eta_seconds > 0 && share([[Math.min(0.99, (state.clock - one.phase_since) / one.eta_seconds), "fine"]], 1),
      one.error && h("small", { class: "bad" }, clean(one.error))))));
}
