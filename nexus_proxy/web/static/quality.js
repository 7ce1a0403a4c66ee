// How well each backend serves each model.

import { grade } from "./backends.js";
import { share, strip } from "./charts.js";
import { h } from "./dom.js";
import { clean, count, mark, milliseconds, name, NONE, rate } from "./words.js";

const PARTS = { success: "success", whole: "whole", first_token: "first token", rate: "speed" };

export function quality(state) {
  const views = Object.values(state.quality).sort((a, b) => (b.score ?? -1) - (a.score ?? -1));
  return h("section", { class: "panel half", key: "quality", id: "quality", "aria-labelledby": "h-quality" },
    h("h2", { id: "h-quality" }, "Quality", h("small", null, "the last 24 h")),
    views.length ? h("ul", { class: "scores" }, views.map(entry))
      : h("p", { class: "empty" }, "Nothing is measured yet: scores come with requests."));
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
        h("dt", null, "First token"), h("dd", { title: "median, and what 95 % stay below" }, `${milliseconds(day.first_token_p50_ms)} / ${milliseconds(day.first_token_p95_ms)}`),
        h("dt", null, "Speed"), h("dd", null, day.tokens_per_second === null ? NONE : `${rate(day.tokens_per_second)} tok/s`))),
    view.score !== null && h("dl", { class: "parts", "aria-label": "Parts of the score" }, Object.entries(PARTS).map(([part, title]) =>
      view.parts[part] !== null && h("div", { title: `${title}: ${view.parts[part].toFixed(0)} of 100` },
        h("dt", null, title), h("dd", null, share([[view.parts[part], view.parts[part] < 50 ? "low" : "fine"]], 100), h("span", { class: "hidden" }, view.parts[part].toFixed(0)))))));
}
