/* Numbers as text, elements, and the charts of one data set; plain SVG. */
const HUES = [215, 12, 145, 280, 40, 185, 330, 95, 245, 65, 305, 165];
const colour = (i) => `hsl(${HUES[i % HUES.length]} 62% 50%)`;
const figure = (x) => x.toFixed(4).replace(/^(-?)0\./, "$1.");
const span = (s) => s < 60 ? `${s.toFixed(1)} s` : s < 3600 ? `${(s / 60).toFixed(1)} min` : `${(s / 3600).toFixed(1)} h`;
const count = (n) => n >= 1e9 ? `${(n / 1e9).toFixed(1)}B` : n >= 1e6 ? `${(n / 1e6).toFixed(1)}M` : n >= 1e3 ? `${(n / 1e3).toFixed(1)}k` : `${n}`;
const COSTS = [["fit", "fit_s", span, "time to fit"], ["eval", "eval_s", span, "time to evaluate"],
  ["peak", "peak_mb", (x) => `${Math.round(x)} MB`, "peak of memory"], ["params", "parameters", count, "parameters"]];
const narrow = innerWidth <= 640;  // a phone: larger letters, fewer of them
const shorter = (name, most = narrow ? 15 : 20) => name.length > most ? name.slice(0, most - 1) + "…" : name;

/* An element: make("td", {class: "few"}, child, "text"). Text is never read as HTML. */
function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "g", "line", "rect", "circle", "path", "text", "title"].includes(tag);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [key, value] of Object.entries(attributes))
    key.startsWith("on") ? node.addEventListener(key.slice(2), value) : node.setAttribute(key, value);
  node.append(...children);
  return node;
}

/* The ends of an interval; a figure of all lists together has none. */
const low = (cell) => cell.low ?? cell.mean, high = (cell) => cell.high ?? cell.mean;

function bars(section, column) {
  const methods = section.methods.filter((method) => method.cells[column]);
  const top = Math.max(...methods.map((method) => high(method.cells[column])), 1e-9), bottom = Math.min(...methods.map((method) => low(method.cells[column])), 0);
  const x = (v) => 150 + 330 * (v - bottom) / (top - bottom);
  return make("svg", {viewBox: `0 0 560 ${methods.length * 26 + 8}`, role: "img", "aria-label": column}, ...methods.map((method, i) => {
    const cell = method.cells[column], y = i * 26 + 6, [from, to] = [x(Math.min(cell.mean, 0)), x(Math.max(cell.mean, 0))];
    return make("g", {opacity: cell.few ? .4 : 1}, make("title", {}, `${method.name}: ${figure(cell.mean)} [${figure(low(cell))}, ${figure(high(cell))}], n = ${cell.n}`),
      make("text", {x: 142, y: y + 13, "text-anchor": "end"}, shorter(method.name)),
      make("rect", {class: "bar", x: from, y, width: Math.max(to - from, 1), height: 18, rx: 2}),
      make("line", {class: "whisker", x1: x(low(cell)), x2: x(high(cell)), y1: y + 9, y2: y + 9}),
      ...[low(cell), high(cell)].map((v) => make("line", {class: "whisker", x1: x(v), x2: x(v), y1: y + 5, y2: y + 13})),
      make("text", {x: 552, y: y + 13, "text-anchor": "end", "font-weight": cell.rank === 1 ? 700 : 400}, figure(cell.mean)));
  }));
}

/* A place for the text of each point {x, y, text}: [x, y, text-anchor], clear of the other points and of the texts placed
   before it, if one of eight places beside the point is. */
function labels(points, width, height) {
  const size = (p) => p.text.length * (narrow ? 8 : 6.3), placed = points.map((p) => [p.x - 6, p.x + 6, p.y - 6, p.y + 6]);
  const box = (p, [x, y, anchor]) => { const from = anchor === "end" ? x - size(p) : anchor === "start" ? x : x - size(p) / 2;
    return [from, from + size(p), y - 10, y + 3]; };
  const free = (b) => b[0] > 52 && b[1] < width && b[2] > 0 && b[3] < height - 34 && placed.every((o) => b[1] < o[0] || b[0] > o[1] || b[3] < o[2] || b[2] > o[3]);
  return points.map((p) => {
    const around = [[9, 4, "start"], [-9, 4, "end"], [0, -10, "middle"], [0, 19, "middle"], [9, -9, "start"], [9, 17, "start"],
      [-9, -9, "end"], [-9, 17, "end"]].map(([dx, dy, anchor]) => [p.x + dx, p.y + dy, anchor]);
    const found = around.find((place) => free(box(p, place))) ?? around[p.x > width * .7 ? 1 : 0];
    placed.push(box(p, found));
    return found;
  });
}

/* Axes with labels around points {x, y}; xs and ys are functions to pixels. */
function frame(width, height, xTicks, yTicks, xs, ys, label) {
  return make("g", {}, make("line", {class: "axis", x1: 52, x2: width - 10, y1: height - 34, y2: height - 34}),
    ...yTicks.map((v) => make("g", {}, make("line", {class: "axis", x1: 52, x2: width - 10, y1: ys(v), y2: ys(v)}),
      make("text", {class: "tick", x: 46, y: ys(v) + 4, "text-anchor": "end"}, figure(v)))),
    ...xTicks.map(([v, text]) => make("text", {class: "tick", x: xs(v), y: height - 18, "text-anchor": "middle"}, text)),
    make("text", {class: "tick", x: width - 10, y: height - 3, "text-anchor": "end"}, label));
}
/* Round numbers from low to high, about four of them. */
function ticks(high, low = 0) {
  const rough = (high - low) / 4, power = 10 ** Math.floor(Math.log10(rough)), step = power * [1, 2, 5, 10].find((m) => m * power >= rough);
  const first = Math.ceil(low / step - 1e-9), last = Math.floor(high / step + 1e-9);
  return Array.from({length: last - first + 1}, (_, i) => (first + i) * step);
}

/* Round numbers on a logarithmic axis from low to high: times as people say them, else 1, 2, 5 times a power of ten. */
function logTicks(low, high, key) {
  if (key.endsWith("_s")) return [.01, .1, 1, 10, 60, 600, 3600, 36000, 360000].filter((v) => low <= v && v <= high);
  const powers = Array.from({length: 13}, (_, i) => 10 ** i);
  const all = powers.flatMap((p) => [p, 2 * p, 5 * p]).filter((v) => low <= v && v <= high);
  return all.length > 7 ? all.filter((v) => powers.includes(v)) : all;
}

/* The methods that no other one beats in both: none has as good a figure for less, or a better one for as little. */
function front(methods, gain, price) {
  const better = (a, b) => gain(a) >= gain(b) && price(a) <= price(b) && (gain(a) > gain(b) || price(a) < price(b));
  return methods.filter((one) => !methods.some((other) => better(other, one))).sort((a, b) => price(a) - price(b));
}

/* A metric against a cost, with the Pareto front of the two. */
function scatter(section, column, key) {
  const [, , write, label] = COSTS.find((cost) => cost[1] === key), W = 560, H = 340, down = section.smaller.includes(column);
  const methods = section.methods.filter((method) => method.cells[column] && method.cost);
  const price = (method) => Math.max(method.cost[key], key.endsWith("_s") ? .01 : 1), gain = (method) => method.cells[column].mean * (down ? -1 : 1);
  const prices = methods.map(price), least = Math.min(...prices) / 1.4, most = Math.max(...prices) * 1.4;
  const top = Math.max(...methods.map((method) => high(method.cells[column])), 1e-9), bottom = Math.min(...methods.map((method) => low(method.cells[column])), 0);
  const xs = (v) => 66 + (W - 100) * Math.log(v / least) / Math.log(most / least), ys = (v) => H - 34 - (H - 50) * (v - bottom) / (top - bottom);
  const points = methods.map((method) => ({x: xs(price(method)), y: ys(method.cells[column].mean), text: shorter(method.name)})), places = labels(points, W, H);
  const best = front(methods.filter((method) => !method.cells[column].few), gain, price), ends = best.map((method) => points[methods.indexOf(method)]);
  const steps = ends.map((p, i) => i ? `H${p.x}V${p.y}` : `M${p.x} ${p.y}`).join("") + (ends.length ? `H${W - 10}` : "");
  const chart = make("svg", {viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `${column} against ${label}`},
    frame(W, H, logTicks(least, most, key).map((v) => [v, write(v).replace(".0 ", " ")]), ticks(top, bottom), xs, ys, `${label} (logarithmic)`),
    make("path", {class: "front", d: steps}),
    ...methods.map((method, i) => { const {x, y} = points[i], cell = method.cells[column];
      return make("g", best.includes(method) ? {} : {opacity: .6}, make("title", {}, `${method.name}: ${figure(cell.mean)}, ${label} ${write(method.cost[key])}`),
        make("line", {class: "range", x1: x, x2: x, y1: ys(low(cell)), y2: ys(high(cell))}),
        make("circle", {cx: x, cy: y, r: best.includes(method) ? 6 : 4, fill: colour(section.methods.indexOf(method))}),
        make("text", {x: places[i][0], y: places[i][1], "text-anchor": places[i][2], "font-weight": best.includes(method) ? 700 : 400}, narrow && !best.includes(method) ? "" : shorter(method.name))); }));
  return make("div", {}, chart, make("p", {class: "small"}, make("b", {}, "Pareto front: "), best.map((method) => method.name).join(", ") || "none",
    make("span", {class: "dim"}, `. Each other method costs at least as much as one of these, for a figure that is no better${down ? " (lower is better)" : ""}.`)));
}

/* A histogram for each method of its users' own means. */
function spread(section, column) {
  const {edges, methods} = section.distributions[column], rows = section.methods.filter((method) => methods[method.name]), H = 34;
  const from = edges[0], to = edges.at(-1), x = (v) => 150 + 290 * (v - from) / (to - from), W = 290 / (edges.length - 1);
  const bottom = rows.length * H + 4, marks = ticks(to, from).filter((v) => v >= from && v <= to);
  const chart = make("svg", {viewBox: `0 0 560 ${bottom + 20}`, role: "img", "aria-label": `${column} by user`}, ...rows.map((method, i) => {
    const {counts, users, zero, mean} = methods[method.name], base = (i + 1) * H, most = Math.max(...counts);
    return make("g", {}, make("title", {}, `${method.name}: ${users} users, ${zero} of them at 0; mean over users ${figure(mean)}`),
      make("text", {x: 142, y: base - 6, "text-anchor": "end"}, shorter(method.name)),
      ...counts.map((n, k) => make("rect", {class: "hist", x: x(edges[k]) + .5, width: W - 1, y: base - 26 * Math.sqrt(n / most), height: 26 * Math.sqrt(n / most)})),
      make("line", {class: "axis", x1: 150, x2: 440, y1: base, y2: base}),
      make("line", {class: "mean", x1: x(mean), x2: x(mean), y1: base - 28, y2: base}),
      make("text", {x: 552, y: base - 6, "text-anchor": "end", class: "tick"}, `${(100 * zero / users).toFixed(0)} % at 0`));
  }), ...marks.map((v) => make("text", {class: "tick", x: x(v), y: bottom + 14, "text-anchor": "middle"}, figure(v))));
  return make("div", {}, chart, make("p", {class: "dim small"}, "Users by their own mean over instances and seeds; a bar's height is the square root of the number of users, its method's highest bar being full; the line is the mean over users."));
}

/* Of the methods that this metric selects: on one axis, the figures of two metrics would be compared. */
function curves(section, metric) {
  const lines = section.methods.flatMap((method, i) => method.valid_metric !== metric ? [] : method.curves.map((points) => ({name: method.name, points, i}))), W = 560, H = 320;
  if (!lines.length) return make("p", {class: "dim"}, "No method that this metric selects was validated while it trained.");
  const top = Math.max(...lines.flatMap((l) => l.points), 1e-9), xs = (v) => 60 + (W - 80) * v, ys = (v) => H - 34 - (H - 50) * v / top;
  const chart = make("svg", {viewBox: `0 0 ${W} ${H}`, role: "img"}, frame(W, H, [[0, "start"], [.5, "half"], [1, "end"]], ticks(top), xs, ys, "share of a method's own validations"),
    ...lines.map((l) => make("g", {}, make("title", {}, `${l.name}: ${l.points.length} validations, best ${figure(Math.max(...l.points))}`),
      make("path", {fill: "none", stroke: colour(l.i), "stroke-width": 2, d: l.points.map((v, k) =>
        `${k ? "L" : "M"}${xs(l.points.length > 1 ? k / (l.points.length - 1) : 1)} ${ys(v)}`).join("")}),
      make("circle", {cx: xs(1), cy: ys(l.points.at(-1)), r: 3, fill: colour(l.i)}))));
  const legend = make("p", {class: "small"}, ...[...new Map(lines.map((l) => [l.name, l.i]))].flatMap(([name, i]) =>
    [make("span", {style: "white-space: nowrap"}, make("span", {style: `color: ${colour(i)}`}, "● "), name), "   "]));
  return make("div", {}, chart, legend);
}
