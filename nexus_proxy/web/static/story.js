// The whole story of one request, as `nexus why` tells it.

import { act } from "./acts.js";
import { waterfall } from "./charts.js";
import { h } from "./dom.js";
import { closeStory } from "./store.js";
import { ago, clean, cost, count, isRunning, mark, milliseconds, name, plural, rate, speed } from "./words.js";

export function story(state) {
  if (state.open === null) return null;
  const known = state.requests[state.open];
  // The live view knows how far it has come, the fetched one has the decision.
  const one = state.story?.id === state.open ? { ...state.story, ...(known ?? {}), decision: state.story.decision, notes: state.story.notes } : known;
  return h("dialog", {
    key: "story", class: "drawer", "aria-labelledby": "h-story",
    hook: (node) => node.showModal(), onclose: closeStory,
    onclick: (event) => event.target === event.currentTarget && event.target.close(),
  }, h("div", { class: "inner" },
    h("header", null, h("h2", { id: "h-story" }, one ? name(one.model_asked) : "Request"),
      h("button", { class: "close", "aria-label": "Close", onclick: (event) => event.target.closest("dialog").close() }, "✕")),
    one ? told(one, state) : h("p", { class: "empty" }, state.storyProblem ? clean(state.storyProblem) : "Looking it up …")));
}

function told(one, state) {
  const pace = speed(one);
  return [
    h("p", { class: "lede" }, mark(one.phase), one.backend && [" on ", name(one.backend)], one.status && `, status ${one.status}`, ", ", ago(one.started, state.clock)),
    one.error && h("p", { class: "reason" }, clean(one.error)),
    isRunning(one) && h("button", { class: "end", onclick: () => act("request.cancel", { request: one.id }, "End this request?") }, "End this request"),
    h("h3", null, "Clocks"),
    waterfall(one, state.clock),
    h("h3", null, "What it came to"),
    h("dl", { class: "facts" },
      fact("Tokens", `${count(one.prompt_tokens)} in, ${count(one.completion_tokens)} out (${one.usage_source})`),
      one.cached_tokens > 0 && fact("From the cache", `${count(one.cached_tokens)} of the prompt`),
      one.reasoning_tokens > 0 && fact("Thought, not said", plural(one.reasoning_tokens, "token")),
      fact("Cost", `${cost(one)}${one.cost_usd !== null && one.cost_source !== "n/a" ? ` (${one.cost_source})` : ""}`),
      fact("First token", milliseconds(one.first_token_ms)),
      pace !== null && fact("Speed", `${rate(pace)} tokens/s`),
      one.finish_reason && fact("Finished by", clean(one.finish_reason)),
      fact("Endpoint", `${clean(one.endpoint)}, ${one.stream ? "streamed" : "in one piece"}`),
      fact("Client", clean(one.client)),
      one.key && fact("API key", clean(one.key)),
      fact("Request", h("code", null, clean(one.id)))),
    one.truncated && h("p", { class: "reason" }, `The backend cut the prompt: it counted ${count(one.truncated.counted)} tokens of at least ${count(one.truncated.sent)} that were sent.`),
    one.notes.map((note) => h("p", { class: "note" }, `Not carried over: ${clean(note)}`)),
    one.decision ? decision(one.decision) : h("p", { class: "muted small" },
      isRunning(one) ? "How it was routed is told once it is known." : state.storyProblem ? clean(state.storyProblem) : "")];
}

function fact(title, ...value) {
  return [h("dt", null, title), h("dd", null, value)];
}

function decision(made) {
  const demands = [`zone ${clean(made.required_zone)} or closer`];
  if (made.required_tier !== null) demands.push(`tier ${made.required_tier} or better`);
  if (made.needs.length) demands.push(`with ${made.needs.map(clean).join(", ")}`);
  if (made.prompt_tokens) demands.push(`about ${plural(made.prompt_tokens, "prompt token")}`);
  return [
    h("h3", null, "Why it went there"),
    h("p", null, made.path.map((step, n) => [n > 0 && " → ", name(step)])),
    h("p", { class: "muted" }, `${demands.join(", ")}; strategy ${clean(made.strategy)}`, made.route_reason && `; chosen for ${clean(made.route_reason)}`),
    h("ol", { class: "stages" }, made.stages.map(([stage, sentence]) => h("li", null, h("b", null, clean(stage)), h("span", null, clean(sentence))))),
    h("h3", null, "Candidates, best first"),
    made.candidates.length ? h("ol", { class: "candidates" }, made.candidates.map((one) => h("li", null,
      h("b", null, name(one.backend)), " ", h("span", { class: "muted" }, name(one.model)),
      h("span", { class: "n" }, `score ${one.score.toFixed(2)}`),
      h("small", null, Object.entries(one.parts).map(([part, value]) => `${clean(part)} ${value.toFixed(2)}`).join("  "))))) : h("p", { class: "bad" }, "None was left."),
    made.rejections.length > 0 && [h("h3", null, "Left out"),
      h("ul", { class: "rejections" }, made.rejections.map((one) => h("li", null,
        h("b", null, name(one.backend)), " ", h("span", { class: "muted" }, `${clean(one.stage)}: `), clean(one.reason),
        one.fix && h("small", null, `To change that: ${clean(one.fix)}`))))]];
}
