// One plot with its caption and, behind it, its table.

let plots;

async function figure(name, title, caption, rows, columns, more = {}, control = null) {
  // Vega gives its own element another role and label, which say nothing
  const place = element("div", { "aria-hidden": "true" });
  const plot = element("div", { class: "plot", role: "img", "aria-label": `${title}. The table below has its numbers.` }, place);
  const behind = element("details", {}, element("summary", {}, `Table: ${title}`));
  behind.addEventListener("toggle", () => {
    if (behind.open && !behind.querySelector("table")) behind.append(table(title, columns, rows));
  });
  const drawn = more.rows ?? rows;
  const made = element(
    "figure",
    { id: `figure-${name}` },
    element("h3", {}, title),
    control,
    element("figcaption", {}, caption),
    drawn.length ? plot : element("p", { class: "quiet" }, rows.length ? "Nothing to draw." : "Nothing to show."),
    rows.length ? behind : null,
  );
  if (drawn.length) {
    // ast: expressions are interpreted, because the page's policy forbids to make code from text
    await globalThis.vegaEmbed(place, specification(plots.specifications[name], { ...more, rows: drawn }), {
      ast: true,
      actions: false,
      renderer: "svg",
      defaultStyle: false,
      tooltip: { disableDefaultStyle: true },
    });
  }
  return made;
}

// A plot with its rows. A layer without any is left out: Vega warns of a scale that no row gives an extent.
function specification(plot, datasets) {
  const layers = plot.layer?.filter((layer) => datasets[layer.data?.name]?.length !== 0);
  return { ...plot, ...(layers ? { layer: layers } : {}), datasets: { ...plot.datasets, ...datasets } };
}

function colourOf(arms, place) {
  if (arms[place].control) return { color: plots.control, dash: [] };
  const number = arms.slice(0, place).filter((arm) => !arm.control).length;
  const turn = Math.floor(number / plots.palette.length) % plots.dashes.length;
  return { color: plots.palette[number % plots.palette.length], dash: plots.dashes[turn] };
}

function swatch({ color, dash }) {
  const drawn = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
  const attributes = { x1: 0, x2: 36, y1: 6, y2: 6, stroke: color, "stroke-width": 4, "stroke-dasharray": dash.join(" ") };
  for (const [name, value] of Object.entries(attributes)) line.setAttribute(name, value);
  drawn.setAttribute("viewBox", "0 0 36 12");
  drawn.setAttribute("aria-hidden", "true");
  drawn.append(line);
  return drawn;
}
