// The page: filters in the fragment of its address, the first screen for them, and one template opened.

const WINDOW_DAYS = { "28_days": 28, "7_days": 7 };
const DAY = 86400000;
const at = (id) => document.getElementById(id);
const filters = { template: at("filter-template"), window: at("filter-window"), metric: at("filter-metric") };
const [summary, health] = await Promise.all([unpack("summary"), unpack("health")]);
plots = await unpack("plots");
// not as attributes of the page: HTML reads a carriage return as a line feed
for (const option of filters.template.querySelectorAll("[data-template]")) {
  option.value = summary.templates[Number(option.dataset.template)];
}
const totals = new Map(
  rowsOf(summary.rows, summary.numbers).map((row) => [`${row.template}/${row.metric}/${row.time_window}`, row]),
);
const opened = new Map();
let drawing = 0;

function stateOf(fragment) {
  const given = new URLSearchParams(fragment.replace(/^#/, ""));
  const among = (select, value) => (Array.from(select.options).some((option) => option.value === value) ? value : null);
  return {
    template: among(filters.template, given.get("template")) ?? "",
    window: among(filters.window, given.get("window")) ?? "all",
    metric: among(filters.metric, given.get("metric")) ?? "",
  };
}

function fragmentOf(state) {
  const kept = Object.entries(state).filter(([name, value]) => value !== (name === "window" ? "all" : ""));
  return new URLSearchParams(kept).toString();
}

function words(metric) {
  return summary.metrics[metric] ?? metric;
}

function sentenceOf(row, window) {
  if (window === "all") return row.verdict_sentence ?? `${summary.verdicts[row.verdict] ?? row.verdict ?? ""}.`;
  const days = `Trend of the ${summary.windows[window]}, no verdict`;
  return row.reason ? `${days}: ${summary.reasons[row.reason] ?? row.reason}.` : `${days}.`;
}

function drawOverview(state) {
  for (const line of document.querySelectorAll("#overview tr[data-template]")) {
    const number = Number(line.dataset.template);
    line.hidden = state.template !== "" && summary.templates[number] !== state.template;
    const metric = state.metric || summary.shown[number];
    const row = totals.get(`${number}/${metric}/${state.window}`);
    const { lift, low, high } = row ?? { lift: null, low: null, high: null };
    const text = (selector, value) => {
      line.querySelector(selector).textContent = value;
    };
    text(".metric", words(metric));
    text(".sentence", row ? sentenceOf(row, state.window) : "Not served in this window.");
    line.querySelector(".copies").hidden = state.window !== "all" || metric !== summary.shown[number];
    text(".lift", signed(lift));
    text(".bounds", interval(low, high));
    const [treated, control] = [row?.trials ?? 0, row?.control_trials ?? 0];
    text(".trials", count(treated + control));
    text(".share", treated + control ? perCent(control / (treated + control)) : "–");
    drawBar(line.querySelector(".bar"), lift, low, high);
    const link = line.querySelector("th a");
    link.href = `#${fragmentOf({ ...state, template: summary.templates[number] })}`;
  }
}

function drawBar(bar, lift, low, high) {
  for (const mark of bar.querySelectorAll(".range, .more, circle")) mark.remove();
  if ([lift, low, high].some((share) => share === null)) return;
  const axis = 0.5;
  const place = (share) => 50 + 50 * Math.max(-1, Math.min(1, share / axis));
  const draw = (tag, attributes) => {
    const mark = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) mark.setAttribute(name, value);
    bar.append(mark);
  };
  draw("line", { class: "range", x1: place(low), x2: place(high), y1: 8, y2: 8 });
  if (Math.abs(lift) <= axis) draw("circle", { cx: place(lift), cy: 8, r: 4 });
  if (low < -axis) draw("path", { class: "more", d: "M6 3 0 8 6 13" });
  if (high > axis) draw("path", { class: "more", d: "M94 3 100 8 94 13" });
}

async function open(number) {
  if (!opened.has(number)) {
    const template = await unpack(`chunk-${number}`);
    const rows = (table) => rowsOf(table, template.numbers);
    opened.set(number, {
      ...template,
      copies: rows(template.copies),
      segments: rows(template.segments),
      trend: { days: template.trend.days, rows: rows(template.trend.rows) },
      arms: template.arms.map((arm, place) => ({ ...arm, label: labelOf(arm.name, titleOf(template.versions, place)) })),
    });
  }
  return opened.get(number);
}

// What names a copy on a plot: the first of these texts that its newest version has.
const TITLES = ["subject", "title", "headline", "preheader", "body"];

function titleOf(versions, arm) {
  const texts = versions.filter((version) => version.arm === arm).at(-1)?.texts ?? {};
  const found = [...TITLES, ...Object.keys(texts)].map((name) => texts[name]).find((text) => text);
  return (found ?? "").trim().replaceAll(/\s+/g, " ");
}

const MOST_IN_LABEL = 36;
const characters = globalThis.Intl?.Segmenter ? new Intl.Segmenter() : null;

function labelOf(name, title) {
  if (!title) return name;
  const all = characters ? Array.from(characters.segment(title), (part) => part.segment) : Array.from(title);
  return `${name} · ${all.length > MOST_IN_LABEL ? `${all.slice(0, MOST_IN_LABEL - 1).join("")}…` : title}`;
}

function copyRows(template, metric, window) {
  const inWindow = template.copies.filter((row) => row.metric === metric && row.time_window === window);
  const served = inWindow.reduce((sum, row) => sum + row.units, 0);
  return inWindow
    .map((row) => ({
      ...row,
      ...colourOf(template.arms, row.arm),
      rate: row.trials ? row.successes / row.trials : null,
      traffic_share: served ? row.units / served : null,
      label: template.arms[row.arm].label,
      control: template.arms[row.arm].control,
      rank: row.lift_rank,
      order: row.lift_rank ?? 1000 + row.arm,
    }))
    .sort((a, b) => a.order - b.order);
}

function copiesTable(rows, window) {
  const columns = [
    ["Copy", (row) => row.label],
    ["Rank", (row) => row.rank, true],
    ["Verdict", (row) => (row.control ? "control" : summary.verdicts[row.verdict] ?? "trend")],
    ["Lift", (row) => (row.control ? "–" : signed(row.lift)), true],
    ["95 % interval", (row) => (row.control ? "" : interval(row.low, row.high)), true],
    ["p (Holm)", (row) => (row.control ? "–" : probability(row.p)), true],
    ["Beats control", (row) => (row.control ? "–" : perCent(row.probability_beats_control)), true],
    ["Is best", (row) => perCent(row.probability_best), true],
    ["Comparable rate", (row) => perCent(row.comparable_rate, 2), true],
    ["Own rate", (row) => perCent(row.rate, 2), true],
    ["Pooled lift", (row) => (row.control ? "–" : signed(row.pooled_lift)), true],
    ["Successes", (row) => count(row.successes), true],
    ["Trials", (row) => count(row.trials), true],
    ["Share of traffic", (row) => perCent(row.traffic_share), true],
    ["Days of the verdict", (row) => (row.verdict_from ? `${row.verdict_from} to ${row.verdict_through}` : "–")],
  ];
  const caption = "Copies, best first. Own rate and pooled lift disregard days: they mislead while traffic moves between copies.";
  const made = table(caption, columns, rows);
  made.classList.add("copies");
  return made;
}

function sentences(rows, window) {
  return element(
    "ul",
    { class: "sentences" },
    ...rows
      .filter((row) => !row.control)
      .map((row) => element("li", {}, element("strong", {}, element("bdi", {}, row.label)), `: ${sentenceOf(row, window)}`)),
  );
}

function dayTime(text) {
  return Date.parse(`${text}T00:00:00Z`);
}

function firstShown(template, window) {
  const last = dayTime(template.days.first) + (template.days.count - 1) * DAY;
  return window === "all" ? -Infinity : last - (WINDOW_DAYS[window] - 1) * DAY;
}

const dateText = (time) => new Date(time).toISOString().slice(0, 10);

// Beyond it a plot of lifts shows nothing of the others.
const MOST_LIFT = 3;

// Where the lines and marks of lifts are drawn: one interval that reaches far must not flatten the others.
function drawnLifts(rows) {
  const widths = rows.map((row) => Math.max(row.high - row.lift, row.lift - row.low));
  const reach = Math.max(3 * Math.min(...widths), ...rows.map((row) => 1.2 * Math.abs(row.lift)));
  const most = Math.min(MOST_LIFT, reach);
  const cut = (share) => Math.max(-most, Math.min(most, share));
  const mark = (share) => (Math.abs(share) > most ? null : share);
  return {
    drawn: rows.map((row) => ({ ...row, drawn_low: cut(row.low), drawn_lift: mark(row.lift), drawn_high: cut(row.high) })),
    note: rows.some((row) => row.high > most || row.low < -most) ? ` Cut at ${signed(most)}: the table has the whole.` : "",
  };
}

// Days of a few trials would flatten the others: their intervals reach over the whole plot.
function withoutWide(rows) {
  const widths = rows.map((row) => row.high - row.low).sort((a, b) => a - b);
  const most = 4 * (widths[Math.floor(widths.length / 2)] ?? 0);
  return rows.filter((row) => row.high - row.low <= most);
}

function trendFigure(template, metric, window, isShown) {
  const available = [...new Set(template.trend.rows.map((row) => row.metric))];
  const shown = available.includes(metric) ? metric : template.metric;
  const from = firstShown(template, window);
  const rows = template.trend.rows
    .filter((row) => row.metric === shown && isShown(row.arm) && row.comparable_rate !== null)
    .map((row) => ({
      start: row.period_start * DAY,
      day: dateText(row.period_start * DAY),
      rate: row.comparable_rate,
      low: row.comparable_rate_low,
      high: row.comparable_rate_high,
      label: template.arms[row.arm].label,
      ...colourOf(template.arms, row.arm),
    }))
    .filter((row) => row.start + template.trend.days * DAY > from);
  const edits = template.versions
    .filter((version) => version.number > 1)
    .filter((version) => isShown(version.arm))
    .map((version) => ({
      at: Date.parse(`${version.from.replace(" ", "T")}Z`),
      text: `${template.arms[version.arm].label}: ${version.change}, version ${version.number}`,
      color: colourOf(template.arms, version.arm).color,
    }))
    .filter((edit) => edit.at >= from);
  const other = shown === metric ? "" : ` By day the page holds ${available.map(words).join(" and ")} only.`;
  const drawn = withoutWide(rows);
  const few = drawn.length < rows.length ? " Periods of a few trials are in the table only." : "";
  const period = template.trend.days === 1 ? "by day" : `in periods of ${template.trend.days} days`;
  return figure(
    "trend",
    `Comparable rate over time: ${words(shown)}`,
    `Rate of each copy on the traffic of control ${period}, with its 95 % interval; ✎ marks a changed text.${few}${other}`,
    rows,
    [
      ["Copy", (row) => row.label],
      ["From", (row) => row.day],
      ["Comparable rate", (row) => perCent(row.rate, 2), true],
      ["95 % interval", (row) => `${perCent(row.low, 2)} to ${perCent(row.high, 2)}`, true],
    ],
    { rows: drawn, edits },
  );
}

function trafficFigure(template, window) {
  const { first, count: days } = template.days;
  const series = (name) =>
    first ? wholeNumbers(template.numbers, template.days[name], template.arms.length * days) : [];
  const [trials, successes, more] = ["trials", "successes", "more"].map(series);
  // packed are each day's differences to seven days before, and to what the arm's rate gives for the day's trials
  trials.forEach((number, cell) => {
    if (cell % days >= 7) trials[cell] = number + trials[cell - 7];
  });
  trials.forEach((number, cell) => {
    const [all, succeeded, others] = template.days.totals[Math.floor(cell / days)];
    successes[cell] += Math.floor((number * succeeded) / Math.max(all, 1));
    more[cell] += Math.floor((number * others) / Math.max(all, 1));
  });
  const from = first ? firstShown(template, window) : 0;
  const rows = [];
  template.arms.forEach((arm, place) => {
    for (let day = 0; day < days; day += 1) {
      const start = dayTime(first) + day * DAY;
      const cell = place * days + day;
      if (start < from) continue;
      rows.push({
        start,
        day: dateText(start),
        trials: trials[cell],
        successes: successes[cell],
        others: successes[cell] + more[cell],
        label: arm.label,
        order: place,
        color: colourOf(template.arms, place).color,
      });
    }
  });
  const twin = template.metric.startsWith("human_") ? template.metric.slice(6) : `human_${template.metric}`;
  const columns = [
    ["Day", (row) => row.day],
    ["Copy", (row) => row.label],
    ["Trials", (row) => count(row.trials), true],
    [words(template.metric), (row) => count(row.successes), true],
  ];
  if (summary.metrics[twin]) columns.push([words(twin), (row) => count(row.others), true]);
  const served = new Set(rows.filter((row) => row.trials).map((row) => row.start));
  const filled = rows.filter((row) => served.has(row.start)).sort((a, b) => a.start - b.start || a.order - b.order);
  // each day about its noon, so that the pointer finds it; the first and the last one to their ends
  const moved = (place, by) =>
    filled.filter((row) => row.start === filled.at(place).start).map((row) => ({ ...row, start: row.start + by }));
  const noons = filled.map((row) => ({ ...row, start: row.start + DAY / 2 }));
  const drawn = filled.length ? [...moved(0, 0), ...noons, ...moved(-1, DAY)] : [];
  return figure(
    "traffic",
    "Share of traffic",
    "Trials of each day by copy. Because traffic moves between copies, their comparable rates are compared, not their own.",
    filled,
    columns,
    { rows: drawn },
  );
}

function funnelFigure(template, window, isShown) {
  const all = template.copies.filter((row) => row.time_window === window && isShown(row.arm));
  const of = (arm, metric) => all.find((row) => row.arm === arm && row.metric === metric);
  const stages = [
    ["served", (arm) => [of(arm, "delivered")?.units]],
    ["sent", (arm) => [of(arm, "delivered")?.trials]],
    ["delivered", (arm) => [of(arm, "delivered")?.successes]],
    ["opened", (arm) => [of(arm, "opened")?.successes, of(arm, "human_opened")?.successes]],
    ["clicked", (arm) => [of(arm, "clicked")?.successes, of(arm, "human_clicked")?.successes]],
    ["converted", (arm) => [of(arm, "converted")?.successes]],
  ];
  const rows = template.arms.flatMap((arm, place) => {
    const served = of(place, "delivered")?.units;
    if (!served) return [];
    return stages.map(([stage, numbers], number) => {
      const [reached, people] = numbers(place);
      return {
        stage,
        stage_order: number,
        count: reached ?? 0,
        people: people ?? null,
        share: (reached ?? 0) / served,
        people_share: (people ?? reached ?? 0) / served,
        label: arm.name,
        order: place,
        color: colourOf(template.arms, place).color,
      };
    });
  });
  return figure(
    "funnel",
    "From served to converted",
    "Share of what was served. Pale: by people and machines; dark: by people, where the two are told apart.",
    rows,
    [
      ["Copy", (row) => row.label],
      ["Stage", (row) => row.stage],
      ["Number", (row) => count(row.count), true],
      ["By people", (row) => count(row.people), true],
      ["Share of served", (row) => perCent(row.share), true],
    ],
  );
}

function segmentsFigure(template, isOutside, best, chosen, choose) {
  const all = template.segments;
  const arms = [...new Set(all.map((row) => row.arm))].sort((a, b) => a - b);
  const arm = arms.includes(chosen) ? chosen : arms.includes(best) ? best : arms[0];
  const rows = all
    .filter((row) => row.arm === arm)
    .map((row, order) => ({
      ...row,
      low: row.lift_low,
      high: row.lift_high,
      q: row.q_value,
      order,
      label: `${row.segment_key}: ${row.segment_value}`,
      is_clear: row.q_value !== null && row.q_value <= 0.05 ? 1 : 0,
      color: colourOf(template.arms, arm).color,
    }));
  const { drawn, note } = drawnLifts(rows.filter((row) => row.lift !== null && row.low !== null));
  const select = element(
    "select",
    { onchange: (event) => choose(Number(event.target.value)) },
    ...arms.map((place) => element("option", { value: place, selected: place === arm }, template.arms[place].label)),
  );
  const outside = isOutside ? " There are none: what JustAI does not serve has no attributes, so neither has this control." : "";
  const left = template.segments_left_out ? ` ${count(template.segments_left_out)} smaller rows are in the mart.` : "";
  return figure(
    "segments",
    `Segments: ${words(template.metric)}`,
    `Lift by attribute of the person over all days, plain 95 % interval. Strong marks have q ≤ 0.05 (Benjamini-Hochberg).${note}${left}${outside}`,
    rows,
    [
      ["Segment", (row) => row.label],
      ["Lift", (row) => signed(row.lift), true],
      ["95 % interval", (row) => interval(row.low, row.high), true],
      ["q", (row) => probability(row.q), true],
      ["Successes", (row) => count(row.successes), true],
      ["Trials", (row) => count(row.trials), true],
      ["Trials of control", (row) => count(row.control_trials), true],
    ],
    { rows: drawn },
    arms.length ? element("label", {}, "Copy ", select) : null,
  );
}

// A text may be called like something that all objects have.
const textOf = (version, name) => (Object.hasOwn(version.texts, name) ? version.texts[name] : "");

function textsSection(template) {
  const versionsOf = (arm) => template.versions.filter((version) => template.arms[version.arm] === arm);
  const control = template.arms.find((arm) => arm.control && versionsOf(arm).length);
  const cards = element("div", { class: "texts" });
  const against = element(
    "select",
    { id: "against" },
    control ? element("option", { value: "control" }, "control") : null,
    element("option", { value: "previous" }, "the version before"),
    element("option", { value: "" }, "nothing"),
  );
  const draw = () => {
    cards.replaceChildren(
      ...template.arms.filter((arm) => versionsOf(arm).length).map((arm) => card(arm)),
    );
  };
  const card = (arm) => {
    const versions = versionsOf(arm);
    const body = element("dl");
    const select = element(
      "select",
      { "aria-label": `Version of ${arm.name}`, onchange: () => show(Number(select.value)) },
      ...versions.map((version, place) =>
        element("option", { value: place, selected: place === versions.length - 1 }, `version ${version.number}, ${version.change} ${version.from}`),
      ),
    );
    const show = (place) => {
      const version = versions[place];
      const base =
        against.value === "previous"
          ? versions[place - 1]
          : against.value === "control" && !arm.control
            ? versionsOf(control).at(-1)
            : null;
      const names = [...new Set([...Object.keys(version.texts), ...Object.keys(base?.texts ?? {})])];
      body.replaceChildren(
        ...names.flatMap((name) => {
          const text = textOf(version, name);
          const shown = base ? marked(textOf(base, name), text) : [document.createTextNode(text)];
          const cut = version.cut.includes(name) ? element("em", { class: "quiet" }, " … cut here") : null;
          return [element("dt", {}, name), element("dd", { dir: "auto" }, ...shown, ...(cut ? [cut] : []))];
        }),
      );
      const numbers = version.counts;
      body.append(
        element("dt", {}, "this version"),
        element(
          "dd",
          {},
          `${version.from} to ${version.to ?? "now"} (UTC)` +
            (numbers
              ? `: served ${count(numbers.served)}, opened by people ${count(numbers.human_opened)}, clicked by people ${count(numbers.human_clicked)}, converted ${count(numbers.converted)}`
              : ""),
        ),
      );
    };
    show(versions.length - 1);
    const heading = element("h4", {}, arm.control ? `${arm.name}` : arm.name, " ", element("span", { class: "quiet" }, arm.id));
    return element("article", { class: "text" }, heading, versions.length > 1 ? select : null, body);
  };
  against.addEventListener("change", draw);
  draw();
  return element(
    "div",
    { id: "texts" },
    element("h3", {}, "Texts"),
    element("p", { class: "quiet" }, element("label", {}, "Differences against ", against)),
    cards.childElementCount ? cards : element("p", { class: "quiet" }, "Nothing to show."),
  );
}

function splitOf(row) {
  const found = `control has ${perCent(row.observed_control_share)} of ${count(row.split_units)}`;
  if (row.control_share === null) return found;
  return `${found}; planned ${perCent(row.control_share)}; p ${probability(row.split_p_value_anytime)}, valid at every look`;
}

function healthSection(template) {
  const row = health.rows[template];
  const split = { as_planned: "as planned", broken: "broken", not_checked: "not checked: no share is planned" };
  const facts = row
    ? [
        ["Match rate", perCent(row.match_rate), "served with a message in Customer.io"],
        ["Split", split[row.split_status] ?? row.split_status, splitOf(row)],
        ["Crossover", perCent(row.crossover_share), `of ${count(row.people_sampled)} people got several copies`],
        ["Texts changed while served", count(row.edits_while_serving), `${count(row.versions_under_an_hour)} versions lived under an hour`],
        ["Days without control", count(row.days_without_control), "they add nothing to a lift"],
      ]
    : [];
  return element(
    "div",
    { id: "template-health" },
    element("h3", {}, "Can its data be trusted?"),
    table("Data health of the template", [["Check", (fact) => fact[0]], ["Result", (fact) => fact[1], true], ["Meaning", (fact) => fact[2]]], facts),
  );
}

async function drawTemplate(state) {
  const section = at("template");
  const turn = (drawing += 1);
  section.hidden = state.template === "";
  if (section.hidden) {
    section.replaceChildren();
    return;
  }
  const number = summary.templates.indexOf(state.template);
  const template = await open(number);
  const metric = state.metric || template.metric;
  const hidden = new Set();
  const name = filters.template.selectedOptions[0].textContent;
  const rows = copyRows(template, metric, state.window);
  const best = rows.find((row) => !row.control && row.rank !== null)?.arm;
  const figures = element("div", { class: "figures" });
  let segment = null;
  const draw = async () => {
    const isShown = (place) => !hidden.has(place);
    const compared = rows.filter((row) => isShown(row.arm) && !row.control && row.lift !== null && row.low !== null);
    const { drawn, note } = drawnLifts(compared);
    const made = await Promise.all([
      figure(
        "forest",
        `Lift against control: ${words(metric)}`,
        (state.window === "all"
          ? "On the days that count for the verdict, with the 95 % interval that holds at every look."
          : `Trend of the ${summary.windows[state.window]}, plain 95 % interval: no verdict.`) + note,
        drawn,
        [
          ["Copy", (row) => row.label],
          ["Lift", (row) => signed(row.lift), true],
          ["95 % interval", (row) => interval(row.low, row.high), true],
          ["Verdict", (row) => summary.verdicts[row.verdict] ?? "trend"],
        ],
      ),
      trendFigure(template, metric, state.window, isShown),
      trafficFigure(template, state.window),
      funnelFigure(template, state.window, isShown),
      segmentsFigure(template, health.rows[state.template]?.control_split === "outside", best, segment, (place) => {
        segment = place;
        draw();
      }),
    ]);
    if (turn === drawing) figures.replaceChildren(...made);
  };
  const legend = element(
    "ul",
    { class: "legend", "aria-label": "Copies shown in the plots" },
    ...template.arms.map((arm, place) => {
      const box = element("input", { type: "checkbox", checked: true });
      box.addEventListener("change", () => {
        if (box.checked) hidden.delete(place);
        else hidden.add(place);
        draw();
      });
      return element("li", {}, element("label", {}, box, swatch(colourOf(template.arms, place)), arm.label));
    }),
  );
  await draw();
  if (turn !== drawing) return;
  section.replaceChildren(
    element("h2", { id: "template-title" }, name),
    element("p", { class: "quiet" }, `${words(metric)}, ${summary.windows[state.window]}`),
    sentences(rows, state.window),
    copiesTable(rows, state.window),
    legend,
    figures,
    textsSection(template),
    healthSection(state.template),
  );
}

async function apply() {
  const state = stateOf(location.hash);
  for (const [name, select] of Object.entries(filters)) select.value = state[name];
  drawOverview(state);
  await drawTemplate(state);
  const parts = [state.template && filters.template.selectedOptions[0].textContent, summary.windows[state.window], state.metric && words(state.metric)];
  at("status").textContent = `Shown: ${parts.filter(Boolean).join(", ")}`;
  document.documentElement.dataset.shown = fragmentOf(state) || "all";
}

for (const select of Object.values(filters)) {
  select.addEventListener("change", () => {
    const state = Object.fromEntries(Object.entries(filters).map(([name, { value }]) => [name, value]));
    location.hash = fragmentOf(state);
  });
}
addEventListener("hashchange", apply);
// the fragment belongs to the filters
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  at("overview").focus();
});

const prefersDark = matchMedia("(prefers-color-scheme: dark)");
function showTheme() {
  const isDark = (document.documentElement.dataset.theme ?? (prefersDark.matches ? "dark" : "light")) === "dark";
  at("theme").setAttribute("aria-pressed", String(isDark));
}
at("theme").addEventListener("click", () => {
  const isDark = at("theme").getAttribute("aria-pressed") === "true";
  document.documentElement.dataset.theme = isDark ? "light" : "dark";
  showTheme();
});
prefersDark.addEventListener("change", showTheme);
showTheme();
await apply();
