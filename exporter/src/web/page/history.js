// What happened in the last minutes, made of one scrape after the other.

/** The time that plots are of. */
const SPAN = 300;
/** How far apart the scrapes are that are kept whole. */
const KEPT_EVERY = 5;

class History {
  constructor() {
    /** The newest scrape. */
    this.last = null;
    /** What came between two scrapes. */
    this.intervals = [];
    /** Scrapes of this Vigie, the newest last. */
    this.kept = [];
  }

  /** Takes a scrape; says whether it is of a Vigie that has started since the one before. */
  take(scrape) {
    const before = this.last;
    const isRestart = before !== null && isOther(before, scrape);
    if (isRestart) this.kept = [];
    if (before !== null) {
      this.intervals.push(interval(before, scrape, isRestart));
      this.intervals = this.intervals.filter((one) => one.to > scrape.at - SPAN);
    }
    const newest = this.kept[this.kept.length - 1];
    if (!newest || scrape.at - newest.at >= KEPT_EVERY - 0.5) this.kept.push(scrape);
    this.kept = this.kept.filter((one) => one.at >= scrape.at - SPAN - KEPT_EVERY);
    this.last = scrape;
    return isRestart;
  }

  /** What happened in the last seconds, as far as it was seen; all that Vigie has counted for Infinity. */
  window(seconds) {
    const now = this.last;
    if (seconds === Infinity) return { seconds: Math.max(1, now.clock - now.host[STARTED]), isAll: true, works: now.works, services: rows(now.services) };
    // While nobody looked nothing was read: a short time is better then than one that is too long.
    const earlier = this.kept.filter((one) => one.at < now.at - 0.5);
    const base = earlier.find((one) => one.at >= now.at - seconds - 1) ?? earlier[earlier.length - 1];
    if (!base) return { seconds: 0, isAll: false, works: new Map(), services: new Map() };
    const works = new Map();
    for (const [key, row] of now.works) works.set(key, difference(row, base.works.get(key)));
    const services = new Map();
    for (const [name, { row }] of now.services) services.set(name, sinceThen(row, base.services.get(name)?.row));
    return { seconds: now.at - base.at, isAll: false, works, services };
  }
}

/** Whether these are the counts of another Vigie. */
function isOther(before, after) {
  if (before.host[STARTED] !== after.host[STARTED]) return true;
  for (const [key, row] of after.works) {
    const earlier = before.works.get(key);
    if (earlier && requests(row) < requests(earlier)) return true;
  }
  return false;
}

const rows = (services) => new Map([...services].map(([name, { row }]) => [name, row]));

/** Counters of a service by what came on top, gauges as they are. */
function sinceThen(row, earlier) {
  const result = Float64Array.from(row);
  for (const place of [WAIT, CPU]) result[place] = Math.max(0, row[place] - (earlier && isNumber(earlier[place]) ? earlier[place] : 0));
  // The kernel counts this one, from whenever.
  result[THROTTLED] = earlier ? Math.max(0, row[THROTTLED] - earlier[THROTTLED]) : NaN;
  return result;
}

function interval(before, after, isRestart) {
  const works = new Map();
  const all = [];
  for (const [key, row] of after.works) {
    const work = difference(row, isRestart ? undefined : before.works.get(key));
    const service = JSON.parse(key)[0];
    if (!works.has(service)) works.set(service, []);
    addTo(works.get(service), work);
    addTo(all, work);
  }
  const services = new Map();
  for (const [name, { row }] of after.services) services.set(name, sinceThen(row, isRestart ? undefined : before.services.get(name)?.row));
  const [idle, busy, steal] = [IDLE, BUSY, STEAL].map((place) => after.host[place] - before.host[place]);
  return {
    from: before.at,
    to: after.at,
    seconds: Math.max(0.001, after.at - before.at),
    end: new Date(),
    isRestart,
    works,
    all,
    services,
    host: {
      busy: idle + busy > 0 ? busy / (idle + busy) : null,
      steal: idle + busy > 0 ? steal / (idle + busy) : null,
      runnable: after.host[RUNNABLE],
      memory: 1 - after.host[MEMORY_FREE] / after.host[MEMORY_ALL],
    },
  };
}

/** The requests of a service in an interval; of all services for "". */
const workOf = (one, service) => (service === "" ? one.all : (one.works.get(service) ?? []));

/** A number of a service's row in an interval, or of all services together; null if Vigie does not say. */
function ofService(rows, service, place) {
  const list = service === "" ? [...rows.values()] : [rows.get(service) ?? []];
  const said = list.map((row) => row[place]).filter(isNumber);
  return said.length ? said.reduce((a, b) => a + b, 0) : null;
}

