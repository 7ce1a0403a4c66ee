// Where the money went this month.

import { days, share } from "./charts.js";
import { h } from "./dom.js";
import { change } from "./store.js";
import { count, money, name, plural } from "./words.js";

const BY = { models: "model", backends: "backend", keys: "key" };

export function spend(state) {
  const { spend: month, budget } = state;
  return h("section", { class: "panel half", key: "spend", id: "spend", "aria-labelledby": "h-spend" },
    h("h2", { id: "h-spend" }, "Spend", month && h("small", null, month.month)),
    month && budget ? [
      h("p", { class: "sum" }, h("b", null, money(budget.spent_usd)), budget.limit_usd ? ` of ${money(budget.limit_usd)}` : " this month",
        month.forecast_usd !== null && h("span", { class: "muted" }, `, heading for ${money(month.forecast_usd)}`),
        budget.unknown_requests > 0 && h("span", { class: "warn" }, `, ${plural(budget.unknown_requests, "request")} of unknown price`)),
      month.days.some((row) => sum(row) > 0) && days(month.days.map(bar), `Spend per day in ${month.month}, in US dollars`),
      h("div", { class: "choices", role: "group", "aria-label": "Spend by" },
        Object.entries(BY).map(([by, word]) => h("button", { "aria-pressed": String(state.by === by), onclick: () => change({ by }) }, `by ${word}`))),
      table(month[state.by], BY[state.by]),
      month.days.some((row) => row.usd_estimated > 0) && h("p", { class: "legend muted small" }, h("span", null, h("i", { class: "swatch paid" }), " measured"), h("span", null, h("i", { class: "swatch guessed" }), " estimated"))]
      : h("p", { class: "empty" }, "The ledger has not been read yet."));
}

const written = (row) => row.prompt_tokens + row.completion_tokens;
const sum = (row) => row.usd_measured + row.usd_estimated;

function bar(row) {
  return { label: String(Number(row.label.slice(-2))), value: sum(row), guessed: row.usd_estimated, title: `${row.label}: ${money(sum(row))}, ${plural(row.requests, "request")}` };
}

function table(rows, by) {
  if (!rows.length) return h("p", { class: "empty" }, "Nothing ran this month yet.");
  const most = Math.max(...rows.map(sum));
  const tokens = Math.max(...rows.map(written));
  return h("table", { class: "small shares" },
    h("thead", null, h("tr", null, h("th", { scope: "col" }, by),
      ["Requests", "Tokens in → out", "Spent"].map((title) => h("th", { scope: "col", class: "n" }, title)))),
    h("tbody", null, rows.map((row) => h("tr", { key: row.label },
      h("td", null, row.label ? name(row.label) : h("span", { class: "muted" }, "without a key"),
        most > 0 ? sum(row) > 0 && share([[row.usd_measured, "paid"], [row.usd_estimated, "guessed"]], most) : share([[written(row), "free"]], tokens)),
      h("td", { class: "n" }, count(row.requests)),
      h("td", { class: "n" }, `${count(row.prompt_tokens)} → ${count(row.completion_tokens)}`),
      h("td", { class: "n" }, row.free_requests === row.requests ? h("span", { class: "muted" }, "free") : money(sum(row)))))));
}
