// Figures over time. A section with data-figures names where they come from and which charts to
// draw; times are those of whoever looks. What is drawn is told as a table, too.
const SPANS = { hour: 10, day: 180, month: 5 * 1440, year: 61 * 1440 }; // minutes between ticks
const RENEWED = 60000;
const GIB = 2 ** 30;
const STEPS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

const digits = (value) =>
  value >= 100 ? Math.round(value).toLocaleString() : String(Number(value.toPrecision(3)));
const sized = (value) => {
  let step = 0;
  for (; value >= 1024 && step < STEPS.length - 1; step++) value /= 1024;
  return `${digits(value)} ${STEPS[step]}`;
};
const plain = (unit) => (value) => `${digits(value)}${unit}`;

// Each chart: its title, how a value is written, and the lines: which figure, name, colour, style.
const CHARTS = {
  requests: ["Requests", plain("/s"), [
    ["reads", "reads", "--vs-used"], ["writes", "writes", "--vs-shredding"],
  ]],
  bytes: ["Throughput", (value) => `${sized(value)}/s`, [
    ["read_bytes", "read", "--vs-used"], ["write_bytes", "written", "--vs-shredding"],
  ]],
  latency: ["Latency", plain(" ms"), [
    ["read_ms", "reads", "--vs-used"], ["write_ms", "writes", "--vs-shredding"],
  ]],
  queue: ["Queue", plain(""), [["queue", "requests under way", "--vs-used"]]],
  work: ["Work", (value) => `${sized(value * 2 ** 20)}/s`, [
    ["rebuild_mib", "rebuilt", "--vs-used"], ["shred_mib", "shredded", "--vs-shredding"],
    ["scrub_mib", "compared", "--vs-label"],
  ]],
  space: ["Space", (value) => sized(value * GIB), [
    ["used_gb", "used", "--vs-used"], ["capacity_gb", "capacity", "--vs-label", true],
  ]],
};

// Sizes have ticks at powers of two, not of ten.
const BINARY = new Set(["bytes", "work", "space"]);
const binaryTicks = (most) => {
  const step = 2 ** Math.ceil(Math.log2(Math.max(most, 1e-6) / 3));
  const ticks = [];
  for (let tick = 0; tick <= most; tick += step) ticks.push({ value: tick });
  return ticks;
};

const colour = (name) => getComputedStyle(document.body).getPropertyValue(name).trim();
const moment = (span, at) => {
  const time = new Date(at * 1000);
  if (span === "hour" || span === "day")
    return time.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const day = { day: "numeric", month: "short" };
  return time.toLocaleDateString([], span === "year" ? { ...day, year: "2-digit" } : day);
};
const wholeMoment = (at) =>
  new Date(at * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });

// Ticks stand at round times of whoever looks: full hours, midnights.
const ticksOf = (span, at, narrow) => {
  const step = SPANS[span] * 60 * (narrow ? 2 : 1);
  const zone = new Date(at[0] * 1000).getTimezoneOffset() * 60;
  const first = Math.ceil((at[0] - zone) / step) * step + zone;
  const ticks = [];
  for (let tick = first; tick <= at.at(-1); tick += step) ticks.push({ value: tick });
  return ticks;
};

class Charts {
  constructor(section) {
    this.section = section;
    this.names = section.dataset.charts.split(" ");
    this.grid = section.querySelector(".vs-chart-grid");
    this.state = section.querySelector(".vs-chart-state");
    this.span = localStorage.getItem("vs-span") || "hour";
    if (!(this.span in SPANS)) this.span = "hour";
    this.drawn = new Map();
    for (const button of this.buttons) button.addEventListener("click", () => this.choose(button.value));
    this.mark();
    this.read();
  }

  get buttons() {
    return this.section.querySelectorAll(".vs-spans button");
  }

  mark() {
    for (const button of this.buttons) button.setAttribute("aria-pressed", button.value === this.span);
  }

  choose(span) {
    this.span = span;
    localStorage.setItem("vs-span", span);
    this.mark();
    this.read();
  }

  async read() {
    const span = this.span;
    try {
      const answer = await fetch(`${this.section.dataset.figures}?span=${span}`);
      if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
      const told = await answer.json();
      if (span === this.span) this.show(told);
    } catch {
      this.say("The manager did not tell the figures. They are asked for again in a minute.");
    }
  }

  say(text) {
    this.state.textContent = text;
    this.state.hidden = !text;
  }

  show(told) {
    this.told = told;
    const some = this.names.filter((name) =>
      CHARTS[name][2].some(([figure]) => told.figures[figure]?.some((value) => value !== null)),
    );
    this.say(some.length ? (told.foretold ?? "") : this.nothing(told));
    this.grid.hidden = !some.length;
    this.section.querySelector(".vs-chart-table").hidden = !some.length;
    for (const name of this.names) some.includes(name) ? this.draw(name) : this.drop(name);
    this.tell(some);
  }

  nothing(told) {
    if (!told.begins) return "No figures yet: they begin with the first full minute of a worker.";
    const text = this.section.querySelector(".vs-chart-nothing").innerHTML.trim();
    return `${text} Figures are kept since ${wholeMoment(told.begins)}.`;
  }

  drop(name) {
    this.drawn.get(name)?.chart.destroy();
    this.drawn.get(name)?.figure.remove();
    this.drawn.delete(name);
  }

  draw(name) {
    const [title, written, lines] = CHARTS[name];
    const { figure, chart } = this.drawn.get(name) ?? this.frame(name);
    const { at, figures } = this.told;
    const last = lines.map(([key, label, tone, dashed]) => {
      const values = figures[key] ?? [];
      const known = values.filter((value) => value !== null);
      return { values, known, key, label, tone, dashed };
    });
    chart.data.datasets = last.map(({ values, label, tone, dashed }) => ({
      label,
      data: values.map((value, place) => ({ x: at[place], y: value })),
      borderColor: colour(tone),
      backgroundColor: colour(tone),
      borderDash: dashed ? [5, 4] : [],
      borderWidth: 1.75,
      // A point between two gaps would not be seen without a mark.
      pointRadius: values.map((value, place) =>
        value !== null && (values[place - 1] ?? null) === null && (values[place + 1] ?? null) === null ? 2 : 0,
      ),
      pointHitRadius: 8,
      tension: 0.15,
    }));
    const { x, y } = chart.options.scales;
    Object.assign(x, { min: at[0], max: at.at(-1) });
    for (const axis of [x, y]) {
      axis.grid.color = colour("--vs-line");
      axis.ticks.color = colour("--vs-dim");
    }
    chart.update("none");
    const caption = figure.querySelector("figcaption");
    caption.replaceChildren(title);
    const spoken = last.map(({ known, label, tone }) => {
      const said = known.length
        ? `${label} ${written(known.at(-1))}, most ${written(Math.max(...known))}`
        : `${label}: no figures`;
      const part = document.createElement("span");
      const mark = document.createElement("i");
      mark.style.background = colour(tone);
      part.append(mark, said);
      caption.append(part);
      return said;
    });
    figure.querySelector("canvas").setAttribute("aria-label", `${title}: ${spoken.join("; ")}`);
  }

  frame(name) {
    const [, written] = CHARTS[name];
    const figure = document.createElement("figure");
    figure.className = "vs-chart";
    figure.innerHTML =
      '<figcaption></figcaption><div class="vs-chart-box"><canvas role="img"></canvas></div>';
    const before = [...this.grid.children].find(
      (other) => this.names.indexOf(other.dataset.name) > this.names.indexOf(name),
    );
    figure.dataset.name = name;
    this.grid.insertBefore(figure, before ?? null);
    const chart = new Chart(figure.querySelector("canvas"), {
      type: "line",
      data: { datasets: [] },
      options: {
        animation: false,
        maintainAspectRatio: false,
        interaction: { mode: "index", intersect: false },
        plugins: {
          legend: { display: false },
          tooltip: {
            callbacks: {
              title: (items) => (items.length ? wholeMoment(items[0].parsed.x) : ""),
              label: (item) => `${item.dataset.label}: ${written(item.parsed.y)}`,
            },
          },
        },
        scales: {
          x: {
            type: "linear",
            grid: { drawTicks: false },
            border: { display: false },
            ticks: {
              maxRotation: 0,
              autoSkip: false,
              padding: 6,
              callback: (value) => moment(this.told.span, value),
            },
            afterBuildTicks: (axis) => {
              if (this.told) axis.ticks = ticksOf(this.told.span, this.told.at, axis.width < 320);
            },
          },
          y: {
            beginAtZero: true,
            grid: { drawTicks: false },
            border: { display: false },
            ticks: { maxTicksLimit: 4, padding: 6, callback: (value) => written(value) },
            afterBuildTicks: (axis) => {
              if (BINARY.has(name)) axis.ticks = binaryTicks(axis.max);
            },
          },
        },
      },
    });
    const drawn = { figure, chart };
    this.drawn.set(name, drawn);
    return drawn;
  }

  tell(names) {
    const columns = names.flatMap((name) =>
      CHARTS[name][2].map(([key, label]) => [key, `${CHARTS[name][0]}: ${label}`, CHARTS[name][1]]),
    );
    const row = (cells, tag) => {
      const line = document.createElement("tr");
      for (const cell of cells) {
        const made = document.createElement(tag);
        if (tag === "th") made.scope = "col";
        made.textContent = cell;
        line.append(made);
      }
      return line;
    };
    const { at, figures } = this.told;
    const rows = at
      .map((time, place) => [time, columns.map(([key, , written]) => {
        const value = figures[key]?.[place] ?? null;
        return value === null ? "–" : written(value);
      })])
      .filter(([, cells]) => cells.some((cell) => cell !== "–"))
      .reverse();
    this.section
      .querySelector("thead")
      .replaceChildren(row(["Time", ...columns.map(([, title]) => title)], "th"));
    this.section
      .querySelector("tbody")
      .replaceChildren(...rows.map(([time, cells]) => row([wholeMoment(time), ...cells], "td")));
  }

  repaint() {
    if (this.told) this.show(this.told);
  }
}

// A page's poll leaves a section of charts as it is (hx-preserve); one that is new begins.
const known = new Map();
htmx.onLoad((part) => {
  for (const section of [part, ...part.querySelectorAll("[data-figures]")])
    if (section.dataset?.figures && !known.has(section)) known.set(section, new Charts(section));
});
setInterval(() => {
  for (const [section, charts] of known)
    if (!section.isConnected) known.delete(section);
    else if (!document.hidden) charts.read();
}, RENEWED);
// Light or dark: canvases have no stylesheet.
new MutationObserver(() => known.forEach((charts) => charts.repaint())).observe(
  document.documentElement,
  { attributeFilter: ["class"] },
);
