// How well each backend serves each model.

import { grade } from "./backends.js";
import { share, strip } from "./charts.js";
import { h } from "./dom.js";
import { change } from "./store.js";
import { clean, count, mark, milliseconds, name, rate } from "./words.js";

const PARTS = { success: "success", whole: "whole", first_token: "first token", rate: "speed" };

export function quality(state) {
  const views = Object.values(state.quality).sort((a, b) => rank(a) - rank(b) || b.day.requests - a.day.requests);
  const shown = views.slice(0, state.shownScores);
  return h("section", { class: "panel half", key: "quality", id: "quality", "aria-labelledby": "h-quality" },
    h("h2", { id: "h-quality" }, "Quality", h("small", null, "the last 24 h")),
    views.length ? h("ul", { class: "scores" }, shown.map(entry))
      : h("p", { class: "empty" }, "Nothing is measured yet: scores come with requests."),
    views.length > shown.length && h("button", { class: "more", onclick: () => change({ shownScores: Infinity }) }, `Show all ${count(views.length)}`));
}

/** What needs a look comes first: who is left out, then the worst score; the unmeasured last. */
function rank(view) {
  return view.state !== "in use" ? -1 : view.score ?? Infinity;
}

function entry(view) {
  const { day } = view;
  return h("li", { key: `${view.backend}/${view.model}` },
    h("header", null, h("h3", null, name(view.model), h("small", null, "on ", name(view.backend))), mark(view.state)),
    view.reason && h("p", { class: "reason" }, clean(view.reason)),
    h("div", { class: "row" },
      h("span", { class: "score" }, view.score === null ? h("span", { class: "muted" }, "too few") : grade(view.score)),
      view.success_trend.length > 0 && h("span", { class: "trend" },
        strip(view.success_trend, `Share of requests that went well, by five minutes, over the last hour`), h("small", null, "1 h")),
      h("dl", { class: "facts inline" },
        h("dt", null, "Requests"), h("dd", null, count(day.requests), day.faults > 0 && h("span", { class: "bad" }, ` ${count(day.faults)} failed`)),
        day.first_token_p50_ms !== null && [h("dt", null, "First token"), h("dd", { title: "median, and what 95 % stay below" }, `${milliseconds(day.first_token_p50_ms)} / ${milliseconds(day.first_token_p95_ms)}`)],
        day.tokens_per_second !== null && [h("dt", null, "Speed"), h("dd", null, `${rate(day.tokens_per_second)} tok/s`)])),
    view.score !== null && h("dl", { class: "parts", "aria-label": "Parts of the score" }, Object.entries(PARTS).map(([part, title]) =>
      view.parts[part] !== null && h("div", { title: `${title}: ${view.parts[part].toFixed(0)} of 100` },
        h("dt", null, title), h("dd", null, share([[view.parts[part], view.parts[part] < 50 ? "low" : "fine"]], 100), h("span", { class: "hidden" }, view.parts[part].toFixed(0)))))));
}
