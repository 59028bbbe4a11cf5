// Where the time of requests went: bars, and the plot over time.

/** Fills a bar, which is made once. */
function setBar(bar, work) {
  const { seconds, sum } = phasesOf(work);
  if (!bar.firstChild) {
    bar.classList.add("bar");
    bar.setAttribute("role", "img");
    for (const { name } of PHASES) bar.append(element("i", { class: `phase-${name}` }));
  }
  const parts = [];
  seconds.forEach((part, place) => {
    const share = sum > 0 ? part / sum : 0;
    bar.children[place].style.width = `${(share * 100).toFixed(2)}%`;
    if (share >= 0.0005) parts.push(`${PHASES[place].name} ${percent(share)}`);
  });
  const text = parts.length ? parts.join(", ") : "no time was measured";
  setAttribute(bar, "aria-label", text);
  setAttribute(bar, "title", parts.length ? parts.join("\n") : null);
  return bar;
}

class Phases {
  constructor(history) {
    this.history = history;
    this.note = byId("phases-note");
    this.plot = new Plot({ height: 100, label: "Phases over time", isStacked: true, classes: PHASES.map(({ name }) => `phase-${name}`) });
    byId("phases-plot").append(this.plot.svg);
    this.items = PHASES.map(({ name, meaning }) => {
      const item = { share: element("b"), each: element("span", { class: "each" }) };
      byId("phases-legend").append(
        element("li", { title: meaning }, element("i", { class: `swatch phase-${name}` }), element("span", { class: "name", text: name }), item.share, item.each),
      );
      return item;
    });
  }

  draw(service, work) {
    const { intervals } = this.history;
    this.plot.draw(
      this.history,
      PHASES.map((_, place) => intervals.map((one) => at(workOf(one, service), PHASE + place) / one.seconds)),
    );
    const { seconds, sum } = phasesOf(work);
    const number = observed(work);
    this.items.forEach(({ share, each }, place) => {
      setText(share, sum > 0 ? percent(seconds[place] / sum) : NOTHING);
      setText(each, number > 0 ? duration(seconds[place] / number) : "");
    });
    setText(this.note, number > 0 ? `${duration(sum / number)} per request in the mean` : "");
  }
}

