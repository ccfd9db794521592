// How numbers are written, as in words.py, and elements whose texts are text nodes: no text of a copy becomes HTML.

// A lift beyond it is noise; its digits would say otherwise.
const MOST_SHARE = 10;

function signed(share) {
  if (share === null || share === undefined) return "–";
  if (share > MOST_SHARE) return `> +${MOST_SHARE * 100}\u00a0%`;
  const number = (Math.round(share * 1000) / 10).toFixed(1);
  return `${number < 0 ? "−" : "+"}${number.replace("-", "")}\u00a0%`;
}

function perCent(share, places = 1) {
  return share === null || share === undefined ? "–" : `${(share * 100).toFixed(places)}\u00a0%`;
}

function interval(low, high) {
  return low === null || high === null ? "" : `${signed(low)} to ${signed(high)}`;
}

function count(number) {
  return number === null || number === undefined ? "–" : number.toLocaleString("en-US");
}

function probability(p) {
  if (p === null || p === undefined) return "–";
  return p < 0.0001 ? "< 0.0001" : p.toFixed(4);
}

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// `columns`: [heading, function of a row, whether it is a number]; the first names the row.
function table(caption, columns, rows) {
  const cell = (tag, text, isNumber, scope) =>
    element(tag, { class: isNumber ? "number" : null, scope }, text instanceof Node ? text : String(text ?? "–"));
  return element(
    "div",
    // what scrolls must be reached by keyboard
    { class: "scroll", role: "region", tabindex: 0, "aria-label": caption },
    element(
      "table",
      {},
      element("caption", {}, caption),
      element("thead", {}, element("tr", {}, ...columns.map(([name, , isNumber]) => cell("th", name, isNumber, "col")))),
      element(
        "tbody",
        {},
        ...rows.map((row) =>
          element(
            "tr",
            {},
            ...columns.map(([, value, isNumber], place) =>
              place ? cell("td", value(row), isNumber) : cell("th", value(row), isNumber, "row"),
            ),
          ),
        ),
      ),
    ),
  );
}
