// The latency heat map: how many requests lasted how long, over time.

class HeatMap {
  constructor(history) {
    this.history = history;
    this.canvas = byId("heat-map-canvas");
    this.note = byId("heat-map-note");
    this.service = "";
    this.place = null;
    this.canvas.addEventListener("pointermove", (event) => this.point(event));
    this.canvas.addEventListener("pointerleave", () => {
      this.pointed = null;
      this.draw(this.service);
    });
    new ResizeObserver(() => this.draw(this.service)).observe(this.canvas);
    for (const query of ["(prefers-color-scheme: dark)", "(prefers-contrast: more)"]) {
      matchMedia(query).addEventListener("change", () => this.draw(this.service));
    }
  }

  /** How many requests were in each bucket in each interval, in its own row. */
  columns() {
    return this.history.intervals.map((one) => {
      const work = workOf(one, this.service);
      let under = 0;
      return bounds.map(({ place }) => {
        const below = at(work, place);
        const inside = below - under;
        under = below;
        return Math.max(0, inside);
      });
    });
  }

  draw(service) {
    this.service = service;
    const { canvas, history } = this;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width || !height) return;
    const scale = devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    const style = getComputedStyle(canvas);
    const colour = (name) => style.getPropertyValue(name).trim();
    const pen = canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);

    const columns = this.columns();
    const used = bounds.map((_, row) => columns.some((column) => column[row] > 0));
    let [low, high] = [used.indexOf(true), used.lastIndexOf(true)];
    this.frame = null;
    if (low < 0) {
      setText(this.note, "");
      pen.fillStyle = colour("--faint");
      pen.font = `14px ${style.fontFamily}`;
      pen.textAlign = "center";
      pen.fillText("No request ended in this time.", width / 2, height / 2);
      return;
    }
    // At least five rows, so that it keeps its scale with few requests.
    while (high - low < 4 && (low > 0 || high < bounds.length - 1)) {
      if (low > 0) low -= 1;
      if (high - low < 4 && high < bounds.length - 1) high += 1;
    }
    const [left, bottom] = [58, height - 22];
    const range = plotRange(history);
    const rowHeight = (bottom - 4) / (high - low + 1);
    const x = (time) => left + ((Math.max(time, range.begin) - range.begin) / (range.end - range.begin)) * (width - left);
    const top = (row) => bottom - (row - low + 1) * rowHeight;
    this.frame = { left, bottom, low, high, rowHeight, range, width, columns };

    // Requests in each second: an interval that was longer is not darker for that.
    const densities = columns.map((column, place) => column.map((inside) => inside / history.intervals[place].seconds));
    const most = Math.max(...densities.flat());
    pen.fillStyle = colour("--ground");
    pen.fillRect(left, 4, width - left, bottom - 4);
    const ramp = Array.from({ length: 8 }, (_, step) => colour(`--heat${step}`));
    densities.forEach((column, place) => {
      const { from, to } = history.intervals[place];
      for (let row = low; row <= high; row += 1) {
        if (column[row] > 0) {
          // The eye sees small numbers as well.
          pen.fillStyle = ramp[Math.min(7, Math.floor(Math.sqrt(column[row] / most) * 8))];
          pen.fillRect(x(from), top(row) + 0.5, x(to) - x(from) + 0.3, rowHeight - 1);
        }
      }
    });
    this.axes(pen, style, colour, { x, top });
    if (this.pointed) {
      pen.strokeStyle = colour("--text");
      pen.lineWidth = 1.5;
      const { from, to } = history.intervals[this.pointed.place] ?? {};
      if (from) pen.strokeRect(x(from), top(this.pointed.row), x(to) - x(from), rowHeight);
    }
    if (!this.pointed) setText(this.note, `up to ${count(most)} requests/s in a bucket`);
  }

  axes(pen, style, colour, { x, top }) {
    const { left, bottom, low, high, rowHeight, range, width } = this.frame;
    pen.fillStyle = colour("--faint");
    pen.font = `12px ${style.fontFamily}`;
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    const every = Math.max(1, Math.ceil(15 / rowHeight));
    // A bound is where two rows meet.
    for (let row = low; row < high; row += every) {
      pen.fillText(duration(bounds[row].bound), left - 7, Math.max(9, top(row)));
    }
    pen.textBaseline = "alphabetic";
    const span = range.end - range.begin;
    const room = (width - left) / 75;
    const step = [15, 30, 60, 120].find((seconds) => span / seconds <= room) ?? 120;
    for (let ago = 0; ago <= span + 0.5; ago += step) {
      const place = x(range.end - ago);
      pen.textAlign = ago === 0 ? "right" : place < left + 20 ? "left" : "center";
      pen.fillText(ago === 0 ? "now" : ago % 60 === 0 ? `−${ago / 60} min` : `−${ago} s`, ago === 0 ? width : place, bottom + 16);
    }
  }

  /** Says what is under the pointer. */
  point(event) {
    if (!this.frame) return;
    const box = this.canvas.getBoundingClientRect();
    const { left, low, high, bottom, rowHeight, range, width, columns } = this.frame;
    const time = range.begin + ((event.clientX - box.left - left) / (width - left)) * (range.end - range.begin);
    const row = low + Math.floor((bottom - (event.clientY - box.top)) / rowHeight);
    const place = this.history.intervals.findIndex(({ from, to }) => time >= from && time < to);
    const isInside = place >= 0 && row >= low && row <= high && time >= range.begin;
    this.pointed = isInside ? { place, row } : null;
    if (isInside) {
      const from = row > 0 ? duration(bounds[row - 1].bound) : "0";
      const to = bounds[row].bound === Infinity ? "more" : duration(bounds[row].bound);
      const inside = columns[place]?.[row] ?? 0;
      setText(this.note, `${clockTime(this.history.intervals[place].end)} · ${from} to ${to} · ${many(inside, "request")}`);
    }
    this.draw(this.service);
  }
}

