// What all parts of the page share: elements, questions to the server, numbers, colours.
// Text comes into the document as text nodes alone; nothing here or elsewhere makes markup of it.
"use strict";

const P = {};

P.put = (parent, ...children) => {
  for (const child of children.flat()) {
    if (child === null || child === undefined) continue;
    parent.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return parent;
};

const made = (element, attributes, children) => {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "colour") element.style.background = value;
    else if (name === "edge") element.style.borderLeftColor = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  return P.put(element, ...children);
};

P.el = (tag, attributes, ...children) => made(document.createElement(tag), attributes, children);
P.svg = (tag, attributes, ...children) =>
  made(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
P.clear = (element) => {
  element.replaceChildren();
  return element;
};

// --- questions ---

const embedded = document.getElementById("answers");
P.answers = embedded ? JSON.parse(embedded.textContent) : null;
P.isFile = P.answers !== null;

const given = (query) =>
  Object.entries(query || {}).filter(
    ([, value]) => value !== "" && value !== null && value !== undefined,
  );

/// The answer to a question; rejected with the server's words where there is none.
P.ask = async (name, query) => {
  const pairs = given(query).sort(([a], [b]) => (a < b ? -1 : 1));
  if (P.isFile) return fromFile(name, pairs);
  const parameters = new URLSearchParams(pairs).toString();
  const response = await fetch(`/api/${name}?${parameters}`);
  const body = await response.json();
  if (!response.ok) throw new Error(body.error);
  return body;
};

const fromFile = (name, pairs) => {
  if (name === "overview") return P.answers["overview?"];
  const of = (kept) =>
    P.answers[`${name}?${kept.map(([key, value]) => `${key}=${value}`).join("&")}`];
  if (name === "series") return of(pairs.filter(([key]) => key === "run"));
  if (name === "health") pairs = pairs.filter(([key]) => key === "run");
  if (name === "episodes") {
    const all = of(pairs.filter(([key]) => key === "run" || key === "file"));
    const wanted = Object.fromEntries(pairs);
    if (all)
      return {
        ...all,
        next: null,
        rows: all.rows.filter((row) => takes(row, wanted, all.objectives)),
      };
  }
  const found = of(pairs);
  if (!found) throw new Error("this file does not hold that; open the run with `paretopo view`");
  return found;
};

// the filters of the server, over the rows that a file has
const takes = (row, wanted, objectives) => {
  const success = row.success === null ? "unscored" : row.success ? "right" : "wrong";
  const within = (value, least, most) =>
    (least === undefined || value >= +least) && (most === undefined || value <= +most);
  const value = row.rewards[objectives.indexOf(wanted.objective)];
  return (
    (!wanted.task || row.task.includes(wanted.task)) &&
    (!wanted.success || wanted.success === success) &&
    (!wanted.finish || wanted.finish === row.finish) &&
    (!wanted.rank || +wanted.rank === row.rank) &&
    within(row.calls, wanted.least_calls, wanted.most_calls) &&
    (!wanted.objective || within(value, wanted.least, wanted.most))
  );
};

// --- numbers and words ---

P.number = (value, digits = 3) => {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e6 || size < 0.5 * 10 ** -digits)) return value.toExponential(1);
  return Number.isInteger(value) && size >= 10 ? String(value) : value.toFixed(digits);
};

P.duration = (seconds) => {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
};

P.fail = (error) => P.el("p", { class: "error" }, error.message);

// --- colours: those of the report's figures (Okabe and Ito, without the yellow) ---

P.COLOURS = ["#d55e00", "#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000"];
P.DASHES = [[], [7, 4], [2, 3]];

/// A method's colour and dashes, which the server takes from where figures have them.
P.lookOf = (method) => P.looks.get(method) || { colour: "#969696", dash: [] };

/// Keeps the looks; methods are in their order, the leading one first.
P.setLooks = (looks) => {
  const sorted = [...looks].sort((a, b) => Number(b.leads) - Number(a.leads));
  P.methods = sorted.map((look) => look.method);
  const dash = (pixels) => (pixels > 0 ? [pixels, pixels] : []);
  P.looks = new Map(
    sorted.map(({ method, colour, dash: pixels }) => [method, { colour, dash: dash(pixels) }]),
  );
};

// --- tables whose columns sort ---

/// `columns`: `{ title, number, value: (row) => sort key, cell: (row) => node or text }`.
P.table = (columns, rows, { onrow, chosen, order } = {}) => {
  const state = order || { column: null, up: true };
  const body = P.el("tbody");
  const heads = columns.map((column, place) => {
    const sort = () => {
      state.up = state.column === place ? !state.up : !column.number;
      state.column = place;
      draw();
    };
    const title = column.value ? P.el("button", { onclick: sort }, column.title) : column.title;
    return P.el("th", { scope: "col", class: column.number ? "number" : null }, title);
  });
  const key = (row) => {
    const value = columns[state.column].value(row);
    return value === null || value === undefined ? -Infinity : value;
  };
  const draw = () => {
    const sorted = [...rows];
    if (state.column !== null) {
      sorted.sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        return (x < y ? -1 : x > y ? 1 : 0) * (state.up ? 1 : -1);
      });
    }
    heads.forEach((head, place) => {
      const direction = state.up ? "ascending" : "descending";
      if (state.column === place) head.setAttribute("aria-sort", direction);
      else head.removeAttribute("aria-sort");
    });
    P.clear(body).append(
      ...sorted.map((row) =>
        P.el(
          "tr",
          {
            class: chosen && chosen(row) ? "chosen" : null,
            onclick: onrow ? () => onrow(row) : null,
          },
          columns.map((column) =>
            P.el("td", { class: column.number ? "number" : null }, column.cell(row)),
          ),
        ),
      ),
    );
  };
  draw();
  return P.el("table", {}, P.el("thead", {}, P.el("tr", {}, heads)), body);
};

// --- where we are: `#/page?key=value` ---

P.place = () => {
  const [page, query] = location.hash.replace(/^#\/?/, "").split("?");
  return { page: page || "overview", query: Object.fromEntries(new URLSearchParams(query || "")) };
};
P.link = (page, query) => `#/${page}?${new URLSearchParams(given(query)).toString()}`;
P.go = (page, query) => {
  location.hash = P.link(page, query);
};
P.choice = (title, options, chosen, onchange) =>
  P.el(
    "label",
    {},
    title,
    P.el(
      "select",
      { onchange: (event) => onchange(event.target.value) },
      options.map(([value, words]) => P.el("option", { value, selected: value === chosen }, words)),
    ),
  );
