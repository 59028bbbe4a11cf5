// What is known of requests, as a row of numbers. So two scrapes are subtracted, and routes added up, number by number.

const ANSWERS = 0; // 1xx, 2xx, 3xx, 4xx, 5xx
const ABORTED = 5;
const SECONDS = 6;
const PHASE = 7;
const BUCKETS = 13;

const PHASES = [
  { name: "queue", meaning: "readable, and not read yet: too few workers, or a blocked event loop" },
  { name: "runqueue", meaning: "ready to run, and no CPU free for it" },
  { name: "cpu", meaning: "runs" },
  { name: "blocked", meaning: "sleeps: a database, a lock, a disk, another service" },
  { name: "send", meaning: "from the first byte of the answer to the last" },
  { name: "unattributed", meaning: "cannot be told to belong to one request" },
];
const RUNQUEUE = 1;

/** The upper bounds of the buckets in increasing order, and in which place of a row each one is counted. */
const bounds = [];

function bucketPlace(bound) {
  const known = bounds.find((other) => other.bound === bound);
  if (known) return known.place;
  const place = BUCKETS + bounds.length;
  bounds.push({ bound, place });
  bounds.sort((a, b) => a.bound - b.bound);
  return place;
}

const at = (row, place) => row[place] || 0;

/** What has come on top: `earlier` may be undefined. Vigie's counts begin at 0. */
function difference(later, earlier) {
  return earlier ? later.map((value, place) => Math.max(0, value - at(earlier, place))) : later;
}

/** Adds to a sum, which is a plain array and grows as it has to. */
function addTo(sum, row) {
  for (let place = 0; place < row.length; place += 1) sum[place] = at(sum, place) + row[place];
  return sum;
}

const ofClass = (work, digit) => at(work, ANSWERS + digit - 1);

function answered(work) {
  let sum = 0;
  for (let digit = 1; digit <= 5; digit += 1) sum += ofClass(work, digit);
  return sum;
}

/** All requests that ended, aborted ones too. */
const requests = (work) => answered(work) + at(work, ABORTED);
const errors = (work) => ofClass(work, 4) + ofClass(work, 5) + at(work, ABORTED);
const errorShare = (work) => (requests(work) > 0 ? errors(work) / requests(work) : null);

/** Seconds by phase, and their sum. */
function phasesOf(work) {
  const seconds = PHASES.map((_, place) => at(work, PHASE + place));
  return { seconds, sum: seconds.reduce((a, b) => a + b, 0) };
}

/** Observations of durations: handlers that are long-lived have none. */
const observed = (work) => (bounds.length ? at(work, bounds[bounds.length - 1].place) : 0);

/** A quantile in 0..=1, interpolated in its bucket as `histogram_quantile` does; null without observations. */
function quantile(work, q) {
  const all = observed(work);
  if (all <= 0) return null;
  const rank = q * all;
  let under = 0;
  let last = 0;
  for (const { bound, place } of bounds) {
    const below = at(work, place);
    if (below >= rank && below > under) {
      if (bound === Infinity) return { value: last, isAbove: true };
      return { value: last + ((bound - last) * (rank - under)) / (below - under), isAbove: false };
    }
    last = bound;
    under = Math.max(under, below);
  }
  return { value: last, isAbove: true };
}

