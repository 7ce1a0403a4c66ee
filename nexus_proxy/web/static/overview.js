// What is answered in five seconds: my address, what is wrong, what runs, how fast, at what cost.

import { copy, toggleAirplane } from "./acts.js";
import { gauge, line, pulse, slots } from "./charts.js";
import { h } from "./dom.js";
import { clean, count, duration, isRunning, length, milliseconds, money, plural, quantile, rate, span } from "./words.js";

const SMOOTHED = 10; // seconds that a rate is over, as are the gateway's own
const MOST_PROBLEMS = 6;
const SECTIONS = ["Backends", "Requests", "Models", "Spend", "Quality"];

export function bar(state) {
  const address = `${state.endpoint}/v1`;
  return h("header", { class: "bar", key: "bar" },
    h("div", { class: "top" },
      h("p", { class: "brand" }, h("span", { "aria-hidden": "true" }, "◆"), " Nexus"),
      h("button", { class: "address", title: "Copy the address", onclick: () => copy(address) },
        h("code", null, address), h("span", { class: "hint" }, "copy")),
      h("span", { class: "gap" }),
      verdict(state),
      h("button", {
        class: "switch", "aria-pressed": String(state.airplane), onclick: toggleAirplane,
        title: "Airplane mode: nothing is sent to clouds",
      }, h("i", { "aria-hidden": "true" }, "✈"), state.airplane ? " No cloud" : " Airplane"),
      link(state)),
    h("nav", { "aria-label": "Parts of this page" },
      SECTIONS.map((title) => h("a", { href: `#${title.toLowerCase()}` }, title))));
}

function verdict(state) {
  const backends = Object.values(state.backends);
  const up = backends.filter((view) => view.state === "up").length;
  const [glyph, tone, text] = state.draining ? ["◐", "warn", "stopping"]
    : !backends.length ? ["○", "muted", "no backends yet"]
    : up === 0 ? ["✕", "bad", "nothing is up"]
    : state.problems.length ? ["▲", "warn", `${up} of ${backends.length} up`]
    : ["●", "good", `all ${up} up`];
  return h("span", { class: `mark verdict ${tone}`, role: "status" }, h("i", { "aria-hidden": "true" }, glyph), text);
}

function link(state) {
  const live = state.link.up;
  return h("span", { class: `mark link ${live ? "muted" : "bad"}`, title: live ? `Nexus ${state.version}, strategy ${state.strategy}` : "" },
    h("i", { "aria-hidden": "true" }, live ? "◉" : "✕"),
    live ? `live, up ${duration(state.clock - state.started_at)}` : "not connected");
}

export function problems(state) {
  const lost = state.link.up ? [] : [`No connection to the gateway since ${duration(state.clock - state.link.since)}; trying again. What is shown is as it was.`];
  const all = [...lost, ...state.problems.map(clean)];
  const item = (one) => h("li", null, one);
  return all.length > 0 && h("section", { class: "problems", key: "problems", "aria-label": "Problems" },
    h("ul", { role: "alert" }, all.slice(0, MOST_PROBLEMS).map(item)),
    all.length > MOST_PROBLEMS && h("details", null,
      h("summary", null, `${count(all.length - MOST_PROBLEMS)} more`), h("ul", null, all.slice(MOST_PROBLEMS).map(item))));
}

export function tiles(state) {
  return h("section", { class: "tiles", key: "tiles", "aria-label": "Now" },
    flow("Requests", "per second", state.totals.requests_per_second, state.trend, "requests",
      h("p", { class: "under" }, `${count(state.totals.requests)} in all`,
        state.totals.failures > 0 && h("span", { class: "bad" }, `, ${count(state.totals.failures)} failed`))),
    flow("Tokens", "per second", state.totals.tokens_per_second, state.trend, "tokens",
      h("p", { class: "under muted" }, "written, of all backends")),
    running(state),
    firstToken(state),
    spent(state));
}

function tile(title, value, unit, ...below) {
  return h("article", { class: "tile" },
    h("h3", null, title),
    h("p", { class: "figure" }, h("b", null, value), " ", h("span", null, unit)),
    below);
}

function flow(title, unit, value, trend, what, ...below) {
  const rates = rated(trend[what], trend);
  const bad = what === "requests" ? rated(trend.failures, trend) : [];
  const top = Math.max(...rates, 0);
  return tile(title, rate(value), unit, below, line(placed(rates), {
    top, bad: placed(bad), unit: `${rate(top)}/s`, ...ends(trend),
    label: `${title} ${unit} over the last ${length(rates.length * trend.seconds)}, at most ${rate(top)}, now ${rate(value)}`,
  }));
}

const rated = (parts, trend) => smooth(parts, SMOOTHED / trend.seconds).map((all) => sum(all) / SMOOTHED);
const placed = (values) => values.map((y, n) => [n / (values.length - 1 || 1), y]);
const ends = (trend) => ({ from: `${length((trend.requests.length - 1) * trend.seconds)} ago` });
const sum = (values) => values.reduce((total, one) => total + one, 0);

/** So many parts in a row each, without the last part, which is not over. */
function smooth(parts, width) {
  return parts.slice(0, -1).map((_, n) => parts.slice(Math.max(0, n + 1 - width), n + 1));
}

function running(state) {
  const up = Object.values(state.backends).filter((view) => view.state === "up");
  const known = up.filter((view) => view.slots !== null);
  const total = sum(known.map((view) => view.slots));
  const used = sum(known.map((view) => view.in_flight));
  const most = state.trend.in_flight.slice(0, -1);
  const top = Math.max(...most, 0);
  return tile("In flight", count(state.totals.in_flight), state.totals.in_flight === 1 ? "request" : "requests",
    h("p", { class: "under" }, total > 0 && [slots(used, total, 10), ` ${used} of ${plural(total, "slot")}`],
      state.queue.length > 0 ? `${total > 0 ? ", " : ""}≡ ${count(state.queue.length)} waiting` : total === 0 && "nobody waits"),
    line(placed(most), { top, unit: count(top), ...ends(state.trend), label: `Requests in flight, at most ${count(top)}` }));
}

function firstToken(state) {
  const times = Object.values(state.requests)
    .filter((one) => one.stream && !isRunning(one) && one.first_token_ms !== null)
    .sort((a, b) => b.started - a.started).slice(0, 100).map((one) => one.first_token_ms);
  const [value, unit] = span(quantile(times));
  const lately = placed(smooth(state.trend.first_token_ms, SMOOTHED / state.trend.seconds).map((some) => {
    const told = some.filter((one) => one !== null);
    return told.length ? sum(told) / told.length : null;
  })).filter(([, y]) => y !== null);
  const top = Math.max(...lately.map(([, y]) => y), 0);
  return tile("First token", value, unit,
    h("p", { class: "under" }, times.length ? `95 % within ${milliseconds(quantile(times, 0.95))}` : "no stream has ended yet",
      times.length > 0 && h("span", { class: "muted" }, `, ${plural(times.length, "stream")}`)),
    line(lately, { top, unit: milliseconds(top), ...ends(state.trend), label: `Mean time to the first token, at most ${milliseconds(top)}` }));
}

function spent(state) {
  const { budget, spend: month } = state;
  if (!budget) return tile("Spent", "–", "not known");
  const limit = budget.limit_usd;
  return tile("Spent", money(budget.spent_usd), limit ? `of ${money(limit)}` : "this month",
    limit ? gauge([[budget.spent_usd, budget.level], [budget.reserved_usd, "held"]], limit, {
      label: `${money(budget.spent_usd)} of ${money(limit)} spent in ${budget.month}`,
      marks: [limit * budget.soft_percent / 100],
    }) : h("p", { class: "under" }, "no limit is set"),
    h("p", { class: "under muted" },
      budget.reserved_usd > 0 ? `${money(budget.reserved_usd)} put aside` : budget.month,
      budget.unknown_requests > 0 && `, ${plural(budget.unknown_requests, "request")} of unknown price`),
    month?.days.length > 1 && daily(month.days));
}

function daily(days) {
  const values = days.map((row) => row.usd_measured + row.usd_estimated);
  const top = Math.max(...values);
  return h("figure", { class: "line" }, pulse(values, `Spend per day this month, at most ${money(top)}`),
    h("figcaption", null, h("span", null, "the 1st"), h("span", null, `peak ${money(top)}`), h("span", null, "today")));
}
