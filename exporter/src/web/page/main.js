// Asks for the metrics again and again, and shows what they say.

/** How often, in seconds; less often where an answer and its drawing take more than a twentieth of that. */
const PERIOD = 2;
const LONGEST_PERIOD = 30;
/** How long an answer may take. */
const PATIENCE = 15;

const reader = new Reader();
const past = new History();
const state = readState();
const heatMap = new HeatMap(past);
const phases = new Phases(past);
const signals = new Signals(past);
const host = new Host(past);
const services = new Services(past, choose);
const endpoints = new Endpoints(state, changed);
let contact = { state: "starting", since: now() };
let timer = null;
let isAsking = false;

function now() {
  return performance.now() / 1000;
}

// === What was chosen, which the address keeps ===

function readState() {
  const said = new URLSearchParams(location.hash.slice(1));
  const [name, way] = (said.get("sort") ?? "").split(" ");
  return {
    service: said.get("service") ?? "",
    window: ["60", "300", "all"].includes(said.get("window")) ? said.get("window") : "60",
    filter: said.get("filter") ?? "",
    order: ENDPOINT_COLUMNS.some((column) => column.name === name) ? { name, isUp: way === "up" } : { name: "requests", isUp: false },
  };
}

function changed() {
  const { service, window, filter, order } = state;
  const said = new URLSearchParams();
  if (service) said.set("service", service);
  if (window !== "60") said.set("window", window);
  if (filter) said.set("filter", filter);
  if (order.name !== "requests" || order.isUp) said.set("sort", `${order.name} ${order.isUp ? "up" : "down"}`);
  const text = said.toString();
  history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
  draw();
}

function choose(service) {
  state.service = service;
  changed();
  byId("service").focus();
}

// === Asking ===

async function ask() {
  if (isAsking) return;
  isAsking = true;
  clearTimeout(timer);
  const begin = now();
  try {
    const response = await fetch(document.body.dataset.metrics, {
      cache: "no-store",
      headers: { accept: "text/plain;version=0.0.4" },
      signal: AbortSignal.timeout(PATIENCE * 1000),
    });
    const answeredAt = now();
    const text = await response.text();
    if (!response.ok) {
      say("failing", `Vigie answers, but cannot measure: ${text.trim().slice(0, 300) || `status ${response.status}`}`);
    } else {
      const clock = (Date.parse(response.headers.get("date")) || Date.now()) / 1000;
      const scrape = reader.read(text, answeredAt, clock);
      if (scrape === null) say("failing", "What answers here is not Vigie.");
      else take(scrape);
    }
  } catch {
    say("gone", "Vigie does not answer. The numbers below are the last ones it gave; this page goes on by itself as soon as it is back.");
  }
  isAsking = false;
  plan(now() - begin);
}

function plan(took) {
  clearTimeout(timer);
  const wait = Math.min(LONGEST_PERIOD, Math.max(PERIOD - took, took * 20 - took));
  // Soon at first, so that there are rates.
  if (!document.hidden) timer = setTimeout(ask, 1000 * (past.intervals.length === 0 && past.last ? 1 : wait));
}

function take(scrape) {
  const isRestart = past.take(scrape);
  if (isRestart) reader.forget();
  contact = { state: "live", since: contact.state === "live" ? contact.since : scrape.at, at: scrape.at };
  const isOtherPage = scrape.version !== document.body.dataset.version;
  setNotice(isOtherPage ? `This page is of Vigie ${document.body.dataset.version}, and ${scrape.version} runs now: load it again.` : "");
  setText(byId("version"), scrape.version);
  setText(byId("uptime"), `up ${lasting(scrape.clock - scrape.host[STARTED])}`);
  draw();
  tick();
}

function say(name, text) {
  if (contact.state !== name) contact = { ...contact, state: name, since: now() };
  setNotice(text);
  tick();
}

function setNotice(text) {
  const notice = byId("notice");
  setText(notice, text);
  notice.hidden = text === "";
}

/** The state, and how old the numbers are. */
function tick() {
  const names = { starting: "Starting", live: "Live", gone: "No contact", failing: "Failing" };
  setAttribute(byId("status"), "data-state", contact.state);
  setAttribute(document.body, "data-state", contact.state);
  setText(byId("state"), names[contact.state]);
  const age = contact.at === undefined ? null : Math.floor(now() - contact.at);
  const texts = {
    starting: "",
    live: age >= 5 ? `updated ${lasting(age)} ago` : "updated just now",
    gone: age === null ? "" : `for ${lasting(age)}`,
    failing: age === null ? "" : `last numbers ${lasting(age)} old`,
  };
  setText(byId("updated"), texts[contact.state]);
}

// === Drawing ===

/** All that is shown of each service within the window. */
function serviceFacts(window) {
  const sums = new Map();
  const total = new Map();
  for (const [key, row] of past.last.works) {
    const { service } = routeOf(key);
    if (!sums.has(service)) sums.set(service, []);
    addTo(sums.get(service), window.works.get(key) ?? []);
    total.set(service, (total.get(service) ?? 0) + requests(row));
  }
  const { seconds } = window;
  const each = (value) => (value === null || !seconds ? null : value / seconds);
  return [...past.last.services].map(([name, { down }]) => {
    const work = sums.get(name) ?? [];
    return {
      name,
      down,
      work,
      isUsed: (total.get(name) ?? 0) > 0,
      rate: seconds ? requests(work) / seconds : null,
      wait: each(ofService(window.services, name, WAIT)),
      cpu: each(ofService(window.services, name, CPU)),
      flight: ofService(window.services, name, IN_FLIGHT),
    };
  });
}

const routes = new Map();

function routeOf(key) {
  let route = routes.get(key);
  if (!route) {
    const [service, port, method, handler] = JSON.parse(key);
    routes.set(key, (route = { service, port, method, handler, text: `${method} ${handler} ${service} :${port}`.toLowerCase() }));
  }
  return route;
}

function draw() {
  const { last } = past;
  if (!last) return;
  const window = past.window(state.window === "all" ? Infinity : Number(state.window));
  const list = serviceFacts(window);
  const used = list.filter(({ isUsed }) => isUsed);
  host.draw();
  drawChoice(list);
  const service = list.some(({ name }) => name === state.service) ? state.service : "";
  const isEmpty = !used.some(({ name }) => service === "" || name === service);
  drawEmpty(service, list, isEmpty);
  if (isEmpty) return;

  const chosen = [...last.works.keys()].filter((key) => service === "" || routeOf(key).service === service);
  const work = chosen.reduce((sum, key) => addTo(sum, window.works.get(key) ?? []), []);
  const { seconds } = window;
  const number = (place) => ofService(window.services, service, place);
  setText(byId("window-note"), windowNote(window, work));
  signals.draw(service, { work, seconds, number, cpus: last.host[CPUS] });
  heatMap.draw(service);
  phases.draw(service, work);
  services.draw({ list, seconds });
  byId("services").hidden ||= service !== "";
  endpoints.draw(
    chosen.map((key) => {
      const row = window.works.get(key) ?? [];
      const route = routeOf(key);
      return { key, route, text: route.text, work: row, rate: seconds ? requests(row) / seconds : null };
    }),
    used.length > 1 && service === "",
  );
  if (!byId("heat-map-canvas").width) heatMap.draw(service);
}

function windowNote({ seconds, isAll }, work) {
  if (isAll) return `since Vigie started, ${lasting(seconds)} ago; plots are of the last ${lasting(SPAN)}`;
  if (!seconds) return "measuring: numbers come with the next look";
  const text = `of the last ${lasting(Math.round(seconds))}`;
  return requests(work) > 0 ? text : `no request ended in the last ${lasting(Math.round(seconds))}`;
}

/** The services to choose from: those with requests first. */
function drawChoice(list) {
  const select = byId("service");
  const names = (isUsed) => list.filter((one) => one.isUsed === isUsed).map(({ name }) => name).sort((a, b) => a.localeCompare(b));
  const [used, idle] = [names(true), names(false)];
  const key = JSON.stringify([used, idle]);
  if (select.dataset.key !== key) {
    select.dataset.key = key;
    const option = (name) => element("option", { value: name, text: name });
    select.replaceChildren(element("option", { value: "", text: "All services" }), ...used.map(option));
    if (idle.length) select.append(element("optgroup", { label: "Without requests" }, ...idle.map(option)));
  }
  const value = list.some(({ name }) => name === state.service) ? state.service : "";
  if (select.value !== value) select.value = value;
}

/** What to do where there is nothing to see. */
function drawEmpty(service, list, isEmpty) {
  const empty = byId("empty");
  empty.hidden = !isEmpty;
  byId("content").hidden = isEmpty;
  if (isEmpty) setText(byId("window-note"), "");
  const { ports = [], down = [] } = past.last.services.get(service) ?? {};
  const names = list.map(({ name }) => name);
  const key = JSON.stringify([service, names, ports, down]);
  if (!isEmpty || empty.dataset.key === key) return;
  empty.dataset.key = key;
  const known = names.length
    ? `Vigie watches ${names.slice(0, 8).join(", ")}${names.length > 8 ? ` and ${names.length - 8} more` : ""}.`
    : "Vigie has not found a service that listens yet.";
  const one = down.length && !ports.length ? `It no longer listens on port ${down.join(", ")}.` : ports.length ? `It listens on port ${ports.join(", ")}.` : "";
  const port = ports.find((port) => /^\d+$/.test(port)) ?? "PORT";
  empty.replaceChildren(
    element("h2", { text: service ? `No requests to ${service} seen yet` : "No requests seen yet" }),
    element("p", { text: `${service ? one : known} An endpoint appears here when its first request was answered.` }),
    element(
      "ul",
      {},
      element("li", {}, "Send one: ", element("code", { text: `curl http://localhost:${port}/` })),
      element("li", {}, "Still nothing? ", element("code", { text: "sudo vigie doctor" }), " says whether requests can be seen on this host, and what to do if not."),
      element("li", { text: "Vigie sees HTTP/1 in the clear: behind the proxy that ends TLS, not within TLS." }),
    ),
  );
}

// === Beginning ===

byId("service").addEventListener("change", () => {
  state.service = byId("service").value;
  changed();
});
for (const input of byId("window").querySelectorAll("input")) {
  input.checked = input.value === state.window;
  input.addEventListener("change", () => {
    state.window = input.value;
    changed();
  });
}
// Nobody looks: nobody asks.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(timer);
  else ask();
});
addEventListener("online", ask);
setInterval(tick, 1000);
ask();
