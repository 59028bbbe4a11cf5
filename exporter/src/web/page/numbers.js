// Numbers for people: three digits that count, in at most six letters, as `vigie top` writes them.

const NOTHING = "–";

/** `0.05`, `1.23`, `12.3`, `123`. */
function three(value) {
  const text = value < 9.995 ? value.toFixed(2) : value < 99.95 ? value.toFixed(1) : value.toFixed(0);
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/** A rate or a number of anything. */
function count(value) {
  if (!isNumber(value)) return NOTHING;
  if (value > 0 && value < 0.005) return "<0.01";
  if (value < 999.5) return three(value);
  if (value < 99_999.5) return value.toFixed(0);
  if (value < 999_500) return `${three(value / 1e3)}k`;
  if (value < 999.5e6) return `${three(value / 1e6)}M`;
  return `${three(value / 1e9)}G`;
}

/** Every digit of a whole number, in groups of three. */
const whole = (value) => Math.round(value).toString().replace(/\B(?=(\d{3})+$)/g, "\u202f");

/** As many digits as a cell of a table has room for. */
const tally = (value) => (value < 999_999.5 ? whole(value) : count(value));

function duration(seconds) {
  if (!isNumber(seconds)) return NOTHING;
  if (seconds <= 0) return "0";
  if (seconds < 0.000_999_5) return `${three(seconds * 1e6)}\u202fµs`;
  if (seconds < 0.999_5) return `${three(seconds * 1e3)}\u202fms`;
  if (seconds < 99_999.5) return `${three(seconds)}\u202fs`;
  return `${three(seconds / 3600)}\u202fh`;
}

/** What `quantile` gives. */
function quantileText(quantile) {
  if (quantile === null) return NOTHING;
  return quantile.isAbove ? `>${duration(quantile.value)}` : duration(quantile.value);
}

function percent(share) {
  if (!isNumber(share)) return NOTHING;
  const value = share * 100;
  return value > 0 && value < 0.005 ? "<0.01\u202f%" : `${three(value)}\u202f%`;
}

function bytes(value) {
  if (!isNumber(value)) return NOTHING;
  for (const [limit, unit] of [[999.5, "B"], [999.5e3, "kB"], [999.5e6, "MB"], [999.5e9, "GB"]]) {
    if (value < limit) return `${three(value / (limit / 999.5))}\u202f${unit}`;
  }
  return `${three(value / 1e12)}\u202fTB`;
}

/** How long something has lasted: `42 s`, `12 min`, `3 h 5 min`, `9 d`. */
function lasting(seconds) {
  if (seconds < 60) return `${Math.max(0, Math.floor(seconds))}\u202fs`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}\u202fmin`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours}\u202fh ${minutes % 60}\u202fmin`;
  return `${Math.floor(hours / 24)}\u202fd`;
}

/** Many of a thing, or one. */
const many = (number, one, more = `${one}s`) => `${whole(number)} ${Math.round(number) === 1 ? one : more}`;

const clockTime = (date) => date.toTimeString().slice(0, 8);

