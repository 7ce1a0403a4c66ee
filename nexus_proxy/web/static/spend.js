// Where the money went this month. The ledger is asked when the page opens, when spend changes, and
// once a minute.

import { days } from "./charts.js";
import { h } from "./dom.js";
import { change } from "./store.js";
import { clean, count, money, name, plural } from "./words.js";

const BY = ["model", "backend", "key"];

export function spend(state) {
  const { day, rows, by } = state.spend;
  return h("section", { class: "panel half", key: "spend", id: "spend", "aria-labelledby": "h-spend" },
    h("h2", { id: "h-spend" }, "Spend", day && h("small", null, day.month)),
    state.spend.problem && h("p", { class: "reason" }, clean(state.spend.problem)),
    day && [
      h("p", { class: "sum" }, h("b", null, money(day.spent_usd)), day.limit_usd ? ` of ${money(day.limit_usd)}` : " this month",
        day.forecast_usd !== null && h("span", { class: "muted" }, `, heading for ${money(day.forecast_usd)}`),
        day.unknown_requests > 0 && h("span", { class: "warn" }, `, ${plural(day.unknown_requests, "request")} of unknown price`)),
      days(perDay(day), `Spend per day in ${day.month}, in US dollars`),
      h("div", { class: "choices", role: "group", "aria-label": "Spend by" },
        BY.map((one) => h("button", { "aria-pressed": String(by === one), onclick: () => change({ spend: { ...state.spend, by: one, rows: null } }) }, `by ${one}`))),
      rows && table(rows.rows, by)]);
}

function perDay(report) {
  const [year, month] = report.month.split("-").map(Number);
  const found = new Map(report.rows.map((row) => [row.label, row]));
  const today = new Date();
  const isNow = today.getFullYear() === year && today.getMonth() + 1 === month;
  const last = isNow ? today.getDate() : new Date(year, month, 0).getDate();
  return Array.from({ length: last }, (_, n) => {
    const label = `${report.month}-${String(n + 1).padStart(2, "0")}`;
    const row = found.get(label);
    const value = row ? row.usd_measured + row.usd_estimated : 0;
    return { label: String(n + 1), value, title: `${label}: ${money(value)}, ${plural(row?.requests ?? 0, "request")}` };
  });
}

function table(rows, by) {
  const sum = (row) => row.usd_measured + row.usd_estimated;
  const sorted = [...rows].sort((a, b) => sum(b) - sum(a) || b.requests - a.requests).slice(0, 12);
  if (!sorted.length) return h("p", { class: "empty" }, "Nothing ran this month yet.");
  return h("table", { class: "small" },
    h("thead", null, h("tr", null, h("th", { scope: "col" }, by),
      ["Requests", "Tokens in → out", "Spent"].map((title) => h("th", { scope: "col", class: "n" }, title)))),
    h("tbody", null, sorted.map((row) => h("tr", { key: row.label },
      h("td", null, row.label ? name(row.label) : h("span", { class: "muted" }, "without a key")),
      h("td", { class: "n" }, count(row.requests)),
      h("td", { class: "n" }, `${count(row.prompt_tokens)} → ${count(row.completion_tokens)}`),
      h("td", { class: "n" }, row.free_requests === row.requests ? h("span", { class: "muted" }, "free") : money(sum(row)))))));
}
