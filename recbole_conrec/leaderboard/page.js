/* The page: tables and charts from the data inside it. */
const DATA = JSON.parse(document.getElementById("data").textContent);

function cellNode(cell, usual) {
  if (!cell) return make("td", {class: "dim"}, "–");
  const gap = cell.gap === null ? "" : `${figure(cell.gap)} from ${cell.versus}` +
    (cell.gap_low === null ? "" : ` [${figure(cell.gap_low)}, ${figure(cell.gap_high)}]`) +
    (cell.p === null ? " (one seed: no claim)" : `, p = ${cell.p.toPrecision(2)} after Holm`);
  const td = make("td", {class: cell.few ? "few" : "", title: gap});
  td.append(make("span", {class: cell.rank === 1 ? "best" : cell.rank === 2 ? "second" : ""}, figure(cell.mean)));
  td.append((cell.sd === null ? "" : ` ±${figure(cell.sd)}`) + (cell.marked ? " *" : ""));
  if (cell.interval) td.append(make("small", {}, cell.interval));
  if (cell.macro !== null) td.append(make("small", {}, `u ${figure(cell.macro)}`));
  if (cell.few || cell.n !== usual) td.append(make("small", {}, `n = ${cell.n.toLocaleString()}`));
  return td;
}

function table(section) {
  const body = make("tbody");
  const value = (method, key) => key === "name" ? method.name : method.cells[key] ? method.cells[key].mean : method.cost ? method.cost[key] : undefined;
  const row = (method) => make("tr", {}, make("td", {}, method.label, ...(method.note ? [make("small", {}, method.note)] : [])),
    ...section.columns.map((c) => cellNode(method.cells[c], section.usual_n[c])),
    ...COSTS.map(([, key, write]) => make("td", {}, method.cost ? write(method.cost[key]) : "–")),
    make("td", {class: "records"}, ...method.records.flatMap((r) => [r.href ? make("a", {href: r.href}, String(r.seed)) : String(r.seed), " "])));
  const draw = (methods) => {
    const [own, references] = [null, "references"].map((group) => methods.filter((method) => method.group === group));
    const line = make("tr", {class: "sum dim"}, make("td", {colspan: section.columns.length + COSTS.length + 2}, "references"));
    body.replaceChildren(...own.map(row), ...(references.length ? [line, ...references.map(row)] : []));
  };
  const heads = [["method", "name"], ...section.columns.map((c) => [c, c]), ...COSTS.map(([label, key]) => [label, key])];
  const ths = heads.map(([label, key]) => {
    const th = make("th", {scope: "col"});
    th.append(make("button", {onclick: () => {
      const up = th.getAttribute("aria-sort") === "descending" || (key === "name" && th.getAttribute("aria-sort") !== "ascending");
      ths.forEach((other) => other.removeAttribute("aria-sort"));
      th.setAttribute("aria-sort", up ? "ascending" : "descending");
      draw([...section.methods].sort((a, b) => {
        const [x, y] = [value(a, key), value(b, key)];
        if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);  // the empty ones last
        return (x < y ? -1 : x > y ? 1 : 0) * (up ? 1 : -1);
      }));
    }}, label));
    return th;
  });
  draw(section.methods);
  const n = make("tr", {class: "dim"}, make("td", {}, "instances", make("small", {}, "users (effective)")), ...section.columns.map((c) =>
    make("td", {}, (section.usual_n[c] ?? 0).toLocaleString(), make("small", {}, section.users[c]))), make("td", {colspan: COSTS.length + 1}));
  const foot = make("tfoot");
  if (Object.keys(section.improvement).length)
    foot.append(make("tr", {class: "sum"}, make("td", {}, section.improved), ...section.columns.map((c) =>
      make("td", {}, section.improvement[c] ?? "")), make("td", {colspan: COSTS.length + 1})));
  const whole = make("table", {}, make("thead", {}, make("tr", {}, ...ths, make("th", {}, "records")), n), body, foot);
  return make("div", {class: "card"}, make("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": section.dataset}, whole),
    make("p", {class: "dim small"}, section.key), ...section.above.map((text) => make("p", {}, text)));
}

/* What a method measures after each of its stages. */
function afterStages({names, rows, key}) {
  const head = make("tr", {}, ...["method", "measure", ...names].map((text) => make("th", {scope: "col"}, text)));
  const lines = rows.map(([method, measure, figures]) => make("tr", {}, make("td", {}, method), make("td", {}, measure),
    ...names.map((name) => make("td", {class: name in figures ? "" : "dim"}, figures[name] ?? "–"))));
  const scroll = make("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": "after each stage"},
    make("table", {class: "stages"}, make("thead", {}, head), make("tbody", {}, ...lines)));
  return make("div", {class: "card"}, make("h3", {}, "After each stage"), scroll, make("p", {class: "dim small"}, key));
}

/* A chart with a choice for each of its parameters: `choices` are lists of [value, label]. */
function chart(title, draw, ...choices) {
  const holder = make("div");
  const selects = choices.map((options) => make("select", {onchange: () => show(), "aria-label": title},
    ...options.map(([value, label]) => make("option", {value}, label))));
  const show = () => holder.replaceChildren(draw(...selects.map((select) => select.value)));
  show();
  return make("div", {class: "card"}, make("h3", {}, `${title}: `, ...selects.flatMap((select) => [select, " "])), holder);
}

document.title = DATA.title;
document.getElementById("title").textContent = DATA.title;
document.getElementById("lead").textContent = DATA.lead;
for (const section of DATA.sections) {
  const there = section.methods.some((method) => method.cost);
  const main = document.getElementById("main");
  main.append(make("h2", {}, section.dataset), table(section));
  if (!there) continue;
  const same = (names) => names.map((name) => [name, name]);
  if (section.stages) main.append(afterStages(section.stages));
  main.append(make("div", {class: "grid"},
    chart("With 95 % intervals", (c) => bars(section, c), same(section.columns)),
    chart("Quality and cost", (c, key) => scatter(section, c, key), same(section.columns), COSTS.map(([, key, , label]) => [key, label])),
    ...(Object.keys(section.distributions).length ? [chart("By user", (c) => spread(section, c), same(Object.keys(section.distributions)))] : []),
    chart("Training, on validation", (c) => curves(section, c), same(section.valid_metrics)),
    make("div", {class: "card"}, make("h3", {}, "Protocol"), make("dl", {}, ...section.protocol.flatMap(([name, text]) =>
      [make("dt", {}, name), make("dd", {}, text)])))));
}
