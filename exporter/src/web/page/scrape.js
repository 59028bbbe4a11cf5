// Reads the metrics from their text.

/** What is read of each service beside its requests, in the order of its row. NaN is what Vigie does not say. */
const SERVICE_ROW = [
  "service_runqueue_wait_seconds_sum",
  "service_cpu_seconds_total",
  "service_cpu_throttled_seconds_total",
  "http_requests_in_flight",
  "service_threads",
  "service_resident_memory_bytes",
  "service_connections_open",
  "service_listen_backlog",
  "service_listen_backlog_limit",
];
const [WAIT, CPU, THROTTLED, IN_FLIGHT, THREADS, MEMORY, CONNECTIONS, BACKLOG, BACKLOG_LIMIT] = SERVICE_ROW.keys();

/** The same of the host, and of Vigie. */
const HOST_ROW = [
  "idle",
  "busy",
  "steal",
  "cpus",
  "vigie_host_runqueue_length",
  "vigie_host_memory_total_bytes",
  "vigie_host_memory_available_bytes",
  "process_start_time_seconds",
  "process_cpu_seconds_total",
  "process_resident_memory_bytes",
];
const [IDLE, BUSY, STEAL, CPUS, RUNNABLE, MEMORY_ALL, MEMORY_FREE, STARTED, OWN_CPU, OWN_MEMORY] = HOST_ROW.keys();

const FAMILIES = new Set([
  ...SERVICE_ROW.filter((name) => !name.endsWith("_sum")),
  "service_runqueue_wait_seconds",
  "service_listening",
  ...HOST_ROW.filter((name) => name.includes("_")),
  "vigie_host_cpu_seconds_total",
  "http_requests_total",
  "http_requests_aborted_total",
  "http_request_duration_seconds",
  "http_request_phase_seconds_total",
  "vigie_build_info",
  "vigie_lost_total",
  "vigie_probe_attached",
]);

/** The labels of a series, as they were before they were escaped. */
function labelsOf(series) {
  const labels = {};
  for (const [, name, value] of series.matchAll(/([a-z_]+)="((?:[^"\\]|\\.)*)"/gi)) {
    labels[name] = value.replace(/\\(.)/g, (_, letter) => (letter === "n" ? "\n" : letter));
  }
  return labels;
}

/** Who a series belongs to: a route, a service, the host. Its row begins anew with each scrape. */
class Owner {
  constructor(facts) {
    Object.assign(this, facts);
    this.row = [];
    this.turn = 0;
  }

  begin(turn) {
    if (this.turn !== turn) {
      this.turn = turn;
      this.row.fill(undefined);
    }
  }
}

/** Reads one scrape after the other, and remembers what each series means. */
class Reader {
  constructor() {
    this.turn = 0;
    this.forget();
  }

  /** For the metrics of another Vigie. */
  forget() {
    this.places = new Map();
    this.routes = new Map();
    this.services = new Map();
    this.host = new Owner({});
    this.facts = new Owner({});
  }

  /**
   * The numbers in a text that came `at` this time of the page's own clock, and when the clock of Vigie's host said `clock`.
   * Null if it is not the text of a Vigie.
   */
  read(text, at, clock) {
    this.turn += 1;
    this.lost = [];
    this.missing = [];
    this.version = null;
    this.host.begin(this.turn);
    let begin = 0;
    while (begin < text.length) {
      let end = text.indexOf("\n", begin);
      if (end < 0) end = text.length;
      if (text.charCodeAt(begin) !== 35) {
        this.line(text, begin, end);
      } else if (text.startsWith("# TYPE ", begin) && !FAMILIES.has(text.slice(begin + 7, text.indexOf(" ", begin + 7)))) {
        // A whole family that is not shown.
        end = text.indexOf("\n#", end);
        if (end < 0) end = text.length;
      }
      begin = end + 1;
    }
    if (this.version === null) return null;
    const isNew = (owner) => owner.turn === this.turn;
    const rows = (owners) =>
      new Map([...owners].filter(([, owner]) => isNew(owner)).map(([key, owner]) => [key, Float64Array.from(owner.row, (value) => value ?? 0)]));
    const services = new Map();
    for (const [name, owner] of this.services) {
      if (isNew(owner)) {
        services.set(name, { row: Float64Array.from(SERVICE_ROW, (_, place) => owner.row[place] ?? NaN), ports: owner.ports, down: owner.down });
      }
    }
    return {
      at,
      clock,
      version: this.version,
      host: Float64Array.from(HOST_ROW, (_, place) => this.host.row[place] ?? NaN),
      works: rows(this.routes),
      services,
      lost: this.lost,
      missing: this.missing,
    };
  }

  line(text, begin, end) {
    const space = text.lastIndexOf(" ", end - 1);
    if (space <= begin) return;
    const series = text.slice(begin, space);
    let place = this.places.get(series);
    if (place === undefined) {
      // A copy: a slice would keep the whole text of this scrape.
      const copy = JSON.parse(JSON.stringify(series));
      place = this.placeOf(copy);
      this.places.set(copy, place);
    }
    if (place === null) return;
    const value = Number(text.slice(space + 1, end));
    if (place.take) return place.take(value);
    const { owner, slot } = place;
    owner.begin(this.turn);
    owner.row[slot] = (owner.row[slot] ?? 0) + value;
  }

  /** Where the value of a series goes; null for those that are not shown. */
  placeOf(series) {
    const name = series.split("{", 1)[0];
    const labels = labelsOf(series);
    if (name.startsWith("http_request") && name !== "http_requests_in_flight") return this.requestPlace(name, labels);
    if (labels.service !== undefined) return this.servicePlace(name, labels);
    const slot = HOST_ROW.indexOf(name);
    if (slot >= 0) return { owner: this.host, slot };
    switch (name) {
      case "vigie_host_cpu_seconds_total":
        return this.cpuPlace(labels);
      case "vigie_build_info":
        return { take: () => (this.version = labels.version ?? "") };
      case "vigie_lost_total":
        return { take: (value) => value > 0 && this.lost.push({ reason: labels.reason, value }) };
      case "vigie_probe_attached":
        return { take: (value) => value === 0 && this.missing.push(labels.probe) };
      default:
        return null;
    }
  }

  requestPlace(name, labels) {
    const slot = this.requestSlot(name.slice("http_request".length), labels);
    if (slot === null) return null;
    const { service = "", port = "", method = "", handler = "" } = labels;
    this.service(service);
    const key = JSON.stringify([service, port, method, handler]);
    let owner = this.routes.get(key);
    if (!owner) this.routes.set(key, (owner = new Owner({ key, service, port, method, handler })));
    return { owner, slot };
  }

  requestSlot(name, labels) {
    switch (name) {
      case "s_total": {
        const digit = Number((labels.status ?? "")[0]);
        return digit >= 1 && digit <= 5 ? ANSWERS + digit - 1 : null;
      }
      case "s_aborted_total":
        return ABORTED;
      case "_duration_seconds_sum":
        return SECONDS;
      case "_duration_seconds_bucket":
        return bucketPlace(labels.le === "+Inf" ? Infinity : Number(labels.le));
      case "_phase_seconds_total": {
        const place = PHASES.findIndex((phase) => phase.name === labels.phase);
        return PHASE + (place < 0 ? PHASES.length - 1 : place);
      }
      default:
        return null;
    }
  }

  service(name) {
    let owner = this.services.get(name);
    if (!owner) this.services.set(name, (owner = new Owner({ name, ports: [], down: [] })));
    return owner;
  }

  servicePlace(name, labels) {
    const owner = this.service(labels.service);
    if (name === "service_listening") {
      return {
        take: (value) => {
          if (owner.portsTurn !== this.turn) Object.assign(owner, { portsTurn: this.turn, ports: [], down: [] });
          owner.begin(this.turn);
          (value > 0 ? owner.ports : owner.down).push(labels.port);
        },
      };
    }
    const slot = SERVICE_ROW.indexOf(name);
    return slot < 0 ? null : { owner, slot };
  }

  cpuPlace({ mode }) {
    const slot = mode === "idle" || mode === "iowait" ? IDLE : BUSY;
    const { host } = this;
    const add = (place, value) => (host.row[place] = (host.row[place] ?? 0) + value);
    return {
      take: (value) => {
        add(slot, value);
        if (mode === "steal") add(STEAL, value);
        if (mode === "idle") add(CPUS, 1);
      },
    };
  }
}

