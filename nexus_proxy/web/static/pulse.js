// Rates over the last minutes: what the gateway said while this page was open, and before that what
// the requests that it still remembers tell.

export const WINDOW = 300; // seconds
const SPREAD = 10; // seconds that the gateway's own rates are over

/** Points once a second up to `now`, from requests alone. */
export function remembered(requests, now) {
  const all = Object.values(requests);
  const points = [];
  for (let at = Math.ceil(now - WINDOW); at < now; at += 5) {
    const inside = (moment) => moment > at - SPREAD && moment <= at;
    const ended = all.filter((one) => one.total_ms !== null && inside(one.started + one.total_ms / 1000));
    points.push({
      at,
      requests: all.filter((one) => inside(one.started)).length / SPREAD,
      tokens: ended.reduce((sum, one) => sum + (one.completion_tokens ?? 0), 0) / SPREAD,
    });
  }
  return points;
}

/** `pulse` with what the gateway says now, and without what is too old. */
export function beat(pulse, totals, now) {
  const last = pulse.at(-1);
  if (last && now - last.at < 1) return pulse;
  const point = { at: now, requests: totals.requests_per_second, tokens: totals.tokens_per_second };
  return [...pulse.filter((one) => now - one.at <= WINDOW), point];
}
