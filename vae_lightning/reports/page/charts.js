// The charts, each drawn by Plotly from the configurations that the table shows.
"use strict";

const charts = [];
const CONFIG = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
const PRINTED = 680; // pixels of the width of a printed page
const printing = matchMedia("print");
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const colour = (place) => data.colours[place % data.colours.length];
const dash = (place) => ["solid", "dash", "dot"][Math.floor(place / data.colours.length) % 3];

// Plotly reads a few HTML tags in its texts.
const plain = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;");

const unit = (metric) => (metric.endsWith("_acc") ? ", share of images" : /\/(loss|recon|kl)$/.test(metric) ? ", nats per image" : "");

function axisOf(title, more = {}) {
  const line = css("--line");
  return { title: { text: plain(title), standoff: 8 }, gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true, ...more };
}

function draw(element, traces, layout) {
  const small = element.clientWidth < 500;
  Plotly.react(element, traces, {
    font: { family: "system-ui, sans-serif", size: 12, color: css("--text") },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "closest",
    hoverlabel: { bgcolor: css("--panel"), bordercolor: css("--quiet"), font: { color: css("--text"), family: "system-ui, sans-serif" }, align: "left" },
    margin: { l: small ? 45 : 60, r: 15, t: 15, b: 45 }, height: 400, dragmode: small ? false : "zoom",
    ...(printing.matches ? { width: PRINTED, autosize: false } : { width: undefined, autosize: true }),
    ...layout,
  }, CONFIG);
}

function selectOf(label, choices, chosen) {
  const select = make("select");
  fillSelect(select, choices, chosen);
  select.addEventListener("change", drawCharts);
  return [make("label", {}, `${label} `, select), select];
}

function checkOf(label) {
  const box = make("input", { type: "checkbox" });
  box.addEventListener("change", drawCharts);
  return [make("label", {}, box, ` ${label}`), box];
}

// Charts are drawn when they come near the window, or all for print.
const near = new IntersectionObserver((entries) => entries.forEach(({ target, isIntersecting }) => {
  const chart = charts.find(({ section }) => section === target);
  chart.near = isIntersecting;
  refresh(chart);
}), { rootMargin: "200px" });

function refresh(chart) {
  if (!chart.stale || !(chart.near || printing.matches)) return;
  chart.stale = false;
  chart.section.hidden = !chart.drawn();
}

function drawCharts() {
  for (const chart of charts) {
    Object.assign(chart, { stale: true }).section.hidden = false;
    refresh(chart);
  }
}

// Add a section with a chart; `drawn` draws into its figure, and returns whether there is anything to see.
function addChart(id, title, caption, controls, drawn) {
  const body = make("div", { className: "chart" });
  const figure = make("figure", {}, body, make("figcaption", { textContent: caption }));
  const section = make("section", { id }, make("h2", { id: `${id}-title`, textContent: title }), make("p", { className: "controls" }, ...controls), figure);
  section.setAttribute("aria-labelledby", `${id}-title`);
  body.setAttribute("role", "img");
  body.setAttribute("aria-label", `${title}: ${caption}`);
  document.getElementById("charts").append(section);
  charts.push({ section, stale: true, near: false, drawn: () => drawn(body, figure) });
  near.observe(section);
}

// What can be an axis of a chart: the axes of the sweep, and all metrics.
const quantities = [
  ...data.axes.map((name, place) => ({ name, place, key: `axis ${name}`, value: (each) => each.values[place], log: data.scales[place] === "log" })),
  ...(data.search ? [{ name: "trial", key: "trial", value: (each) => each.trial }] : []),
  ...[...new Set([...data.objectives.map((each) => each.name), ...data.metrics])].map((name) => ({
    name, metric: name, key: `metric ${name}`, value: (each) => each.stats[name]?.[0] ?? null, std: (each) => each.stats[name]?.[1] ?? 0,
  })),
];
const metricQuantities = quantities.filter((each) => each.metric);
const choicesOf = (list) => list.map(({ key, name }) => [key, name]);
const quantityOf = (select) => quantities.find(({ key }) => key === select.value);
const isNumeric = (quantity, rows) => rows.every((each) => quantity.value(each) === null || isNumber(quantity.value(each)));
const levelsOf = (quantity, rows) => [...new Set(rows.map(quantity.value).filter((value) => value !== null))].sort(compare);

// The axes on which configurations of one group differ.
const variedAxes = quantities.filter((each) => each.place !== undefined
  && (data.groups.length ? data.groups : [{ name: "" }]).some(({ name }) => levelsOf(each, ranked(name)).length > 1));

// Whether a numeric quantity is shown on a logarithmic axis: as the search drew it, or because it spans decades.
function isLog(quantity, rows) {
  const values = finite(rows.map(quantity.value));
  return values.length > 0 && Math.min(...values) > 0 && isNumeric(quantity, rows)
    && (quantity.log || (!quantity.metric && Math.max(...values) > 20 * Math.min(...values)));
}

// An axis for a quantity, on its true scale, with ticks at the values of a grid.
function scaleOf(quantity, rows, log = isLog(quantity, rows)) {
  const title = quantity.name + (quantity.metric ? unit(quantity.name) : "");
  if (!isNumeric(quantity, rows)) {
    return axisOf(title, { type: "category", categoryorder: "array", categoryarray: levelsOf(quantity, rows).map((value) => plain(shown(value))) });
  }
  const range = quantity.metric && !log ? windowOf(rows.map(quantity.value), highIsGood(quantity.name)) : null;
  const levels = levelsOf(quantity, rows);
  const ticks = !quantity.metric && levels.length <= 8 && data.scales.length === 0 ? { tickvals: levels, ticktext: levels.map(shown) } : {};
  return axisOf(title, { type: log ? "log" : "linear", ...(range ? { range } : {}), ...ticks });
}

const placeOf = (quantity, rows) => (each) => {
  const value = quantity.value(each);
  return value === null || isNumeric(quantity, rows) ? value : plain(shown(value));
};

const tooltip = (each, ...metrics) => [plain(each.label), ...[...new Set(metrics)].map((name) => `${plain(name)} ${measured(name, each.stats[name] ?? [null])}`)].join("<br>");

// Colours of markers by a quantity: a scale for numbers, else one colour for each value.
function colouring(quantity, rows) {
  const values = rows.map(quantity.value);
  if (!isNumeric(quantity, rows)) {
    const levels = levelsOf(quantity, rows);
    return { color: values.map((value) => colour(levels.indexOf(value))) };
  }
  const log = isLog(quantity, rows);
  const ends = finite(values);
  const limits = quantity.metric ? windowOf(values, highIsGood(quantity.name)) : [Math.min(...ends), Math.max(...ends)];
  if (!limits) return { color: css("--quiet") };
  const place = (value) => (value === null ? null : log ? Math.log10(value) : value);
  const ticks = [0, 1, 2, 3, 4].map((step) => place(limits[0]) + (step / 4) * (place(limits[1]) - place(limits[0])));
  return {
    color: values.map(place), colorscale: "Viridis", reversescale: Boolean(quantity.metric) && !highIsGood(quantity.name),
    cmin: place(limits[0]), cmax: place(limits[1]), showscale: limits[1] > limits[0],
    colorbar: {
      title: { text: plain(quantity.name), side: "right" }, thickness: 12, outlinewidth: 0,
      tickvals: ticks, ticktext: ticks.map((tick) => String(Number((log ? 10 ** tick : tick).toPrecision(3)))),
    },
  };
}

function keyOf(entries) {
  const items = entries.map(([label, stroke, pattern]) => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    const strokes = { solid: { "stroke-width": 3 }, dash: { "stroke-width": 3, "stroke-dasharray": "6 3" }, dot: { "stroke-width": 3, "stroke-dasharray": "2 3" }, point: { x1: 13, x2: 13, "stroke-width": 9, "stroke-linecap": "round" } };
    for (const [name, value] of Object.entries({ x1: 0, y1: 5, x2: 26, y2: 5, stroke, ...strokes[pattern] })) line.setAttribute(name, value);
    for (const [name, value] of Object.entries({ width: 26, height: 10, "aria-hidden": true })) svg.setAttribute(name, value);
    svg.append(line);
    return make("li", {}, svg, label);
  });
  return make("ul", { className: "key" }, ...items);
}

function setKey(figure, entries) {
  figure.querySelector(".key")?.remove();
  if (entries.length) figure.querySelector(".chart").after(keyOf(entries));
}

// Training curves.

function curvesChart() {
  const names = [...new Set(data.curves.flatMap((curves) => Object.keys(curves ?? {})))].filter((name) => name !== "epoch");
  if (!names.length) return;
  const order = ["val/loss", "train/loss", "probe/val_acc"];
  const rank = (name) => (order.includes(name) ? order.indexOf(name) : order.length);
  names.sort((one, other) => rank(one) - rank(other));
  const [metricLabel, metric] = selectOf("Metric", names.map((name) => [name, name]), objective?.name);
  const [countLabel, count] = selectOf("In colour", [["5", "5 best"], ["10", "10 best"], ["20", "20 best"]], "10");
  const [logLabel, log] = checkOf("log axis");
  const left = data.jobs.length - data.curves.filter(Boolean).length;
  const caption = "Mean over seeds, with a band of ± the standard deviation; a star marks the best epoch. Grey: the other configurations. The first epochs may lie beyond the axis."
    + (left ? ` ${left} of ${data.jobs.length} jobs have no curves here.` : "");
  addChart("curves", "Training curves", caption, [metricLabel, countLabel, logLabel], (body, figure) => {
    const withCurve = state.visible.filter((each) => each.rows.some((job) => data.curves[job.place]?.[metric.value]));
    const coloured = withCurve.filter((each) => each.runs > 0).slice(0, Number(count.value));
    const selected = withCurve.find((each) => each.place === state.selected);
    if (selected && !coloured.includes(selected)) coloured.push(selected);
    const grey = { x: [], y: [], mode: "lines", line: { color: css("--other"), width: 0.8 }, hoverinfo: "skip" };
    for (const each of withCurve) {
      if (coloured.includes(each)) continue;
      for (const [epoch, mean] of curveOf(each, metric.value)) { grey.x.push(epoch); grey.y.push(mean); }
      grey.x.push(null); grey.y.push(null);
    }
    const [bands, lines, stars, late] = [[], [], { x: [], y: [], mode: "markers", marker: { symbol: "star", size: 12, color: [], line: { width: 1, color: css("--page") } }, hoverinfo: "skip" }, []];
    coloured.forEach((each, place) => {
      const curve = curveOf(each, metric.value);
      const epochs = curve.map(([epoch]) => epoch);
      if (curve.some(([, , std]) => std)) {
        bands.push({
          x: [...epochs, ...epochs.toReversed()], y: [...curve.map(([, mean, std]) => mean + (std ?? 0)), ...curve.toReversed().map(([, mean, std]) => mean - (std ?? 0))],
          mode: "lines", line: { width: 0 }, fill: "toself", fillcolor: `${colour(place)}33`, hoverinfo: "skip",
        });
      }
      lines.push({
        x: epochs, y: curve.map(([, mean]) => mean), mode: curve.length <= 30 ? "lines+markers" : "lines",
        line: { color: colour(place), dash: dash(place), width: each === selected ? 5 : 2 }, marker: { size: 5 }, hoverinfo: "text",
        hovertext: curve.map(([epoch, mean, std]) => `${plain(each.label)}<br>epoch ${epoch}: ${plain(metric.value)} ${measured(metric.value, [mean, std])}`),
      });
      const best = bestEpoch(each, metric.value);
      const point = curve.find(([epoch]) => epoch === best);
      if (point) { stars.x.push(point[0]); stars.y.push(point[1]); stars.marker.color.push(colour(place)); }
      const skipped = curve.length > 2 ? Math.max(1, Math.floor(curve.length / 4)) : 0;
      late.push(...curve.slice(skipped).flatMap(([, mean, std]) => [mean - (std ?? 0), mean + (std ?? 0)]));
    });
    const margin = 0.08 * (Math.max(...late) - Math.min(...late)) || 0.05 * Math.abs(late[0]) || 0.1;
    const range = late.length && !log.checked ? { range: [Math.min(...late) - margin, Math.max(...late) + margin] } : {};
    draw(body, [grey, ...bands, ...lines, stars], {
      height: 440, xaxis: axisOf("epoch", { tickformat: "d", ...(lines.length && Math.max(...lines.flatMap(({ x }) => x)) <= 10 ? { dtick: 1 } : {}) }),
      yaxis: axisOf(metric.value + unit(metric.value), { type: log.checked ? "log" : "linear", ...range }),
    });
    const others = withCurve.length - coloured.length;
    setKey(figure, [...coloured.map((each, place) => [each.label, colour(place), dash(place)]), ...(others ? [[`${others} others`, css("--other"), "solid"]] : [])]);
    return withCurve.length;
  });
}

// The epoch of a configuration's best objective, or of its best validation loss.
function bestEpoch(configuration, metric) {
  for (const name of [objective?.name, "val/loss", metric]) {
    const curve = name ? curveOf(configuration, name) : [];
    const sign = highIsGood(name ?? "") ? -1 : 1;
    if (curve.length) return curve.reduce((best, each) => (sign * each[1] < sign * best[1] ? each : best))[0];
  }
  return null;
}

// Metrics over the axes.

const MOST_LEVELS = 24;

function heatMap() {
  const shownFirst = ranked(state.group);
  const few = variedAxes.filter((each) => levelsOf(each, configurations).length <= MOST_LEVELS);
  const filled = (one, other) => new Set(shownFirst.map((each) => JSON.stringify([one.value(each), other.value(each)]))).size
    / (levelsOf(one, shownFirst).length * levelsOf(other, shownFirst).length);
  const choices = few.filter((each) => levelsOf(each, shownFirst).length > 1);
  const pair = choices.flatMap((one, place) => choices.slice(place + 1).map((other) => [one, other])).find(([one, other]) => filled(one, other) >= 0.2);
  if (!pair || !metricQuantities.length) return;
  const [rowsLabel, rowsSelect] = selectOf("Rows", choicesOf(few), pair[0].key);
  const [columnsLabel, columnsSelect] = selectOf("Columns", choicesOf(few), pair[1].key);
  const [metricLabel, metric] = selectOf("Metric", choicesOf(metricQuantities), `metric ${objective?.name}`);
  const caption = "Means over seeds ± standard deviation; brighter is better, and the best cell is outlined."
    + (variedAxes.length > 2 ? " A cell shows the best configuration over the other axes; the filter can fix them." : "");
  addChart("heat-map", "Heat map", caption, [rowsLabel, columnsLabel, metricLabel], (body) => {
    if (rowsSelect.value === columnsSelect.value) columnsSelect.value = few.find(({ key }) => key !== rowsSelect.value).key;
    const [down, across, measure] = [rowsSelect, columnsSelect, metric].map(quantityOf);
    const known = state.visible.filter((each) => measure.value(each) !== null && down.value(each) !== null && across.value(each) !== null);
    if (!known.length) return false;
    const sign = highIsGood(measure.name) ? -1 : 1;
    const [levels, places] = [levelsOf(down, known), levelsOf(across, known)];
    const cells = levels.map((level) => places.map((place) => known
      .filter((each) => down.value(each) === level && across.value(each) === place)
      .reduce((best, each) => (best && sign * measure.value(best) <= sign * measure.value(each) ? best : each), null)));
    const best = cells.flat().filter(Boolean).reduce((one, other) => (sign * measure.value(other) < sign * measure.value(one) ? other : one));
    const wide = (printing.matches ? PRINTED : body.clientWidth) / places.length > 62;
    const limits = windowOf(known.map(measure.value), highIsGood(measure.name));
    const brightness = (value) => (sign < 0 ? value - limits[0] : limits[1] - value) / (limits[1] - limits[0]);
    const [y, x] = [levels.findIndex((level) => level === down.value(best)), places.findIndex((place) => place === across.value(best))];
    draw(body, [{
      type: "heatmap", x: places.map((value) => plain(shown(value))), y: levels.map((value) => plain(shown(value))),
      z: cells.map((row) => row.map((each) => each && measure.value(each))), zmin: limits[0], zmax: limits[1],
      hoverinfo: "text", hoverongaps: false, xgap: 2, ygap: 2,
      hovertext: cells.map((row) => row.map((each) => (each ? tooltip(each, measure.name) : ""))),
      colorscale: "Viridis", reversescale: sign > 0, colorbar: { thickness: 12, outlinewidth: 0, title: { text: plain(measure.name), side: "right" } },
    }], {
      height: Math.min(700, 130 + 58 * levels.length), xaxis: axisOf(across.name, { type: "category", showgrid: false }),
      yaxis: axisOf(down.name, { type: "category", showgrid: false }),
      annotations: wide ? cells.flatMap((row, down) => row.flatMap((each, across) => (each ? [{
        x: across, y: down, showarrow: false, text: measured(measure.name, each.stats[measure.name]).replace(" ± ", "<br>± "),
        font: { color: brightness(measure.value(each)) > 0.55 ? "#111" : "#fff" },
      }] : []))) : [],
      shapes: [{ type: "rect", x0: x - 0.5, x1: x + 0.5, y0: y - 0.5, y1: y + 0.5, line: { color: "#d55e00", width: 4 } }],
    });
    return true;
  });
}

function slices() {
  const varied = variedAxes.slice(0, 12);
  if (!varied.length || !metricQuantities.length) return;
  const [metricLabel, metric] = selectOf("Metric", choicesOf(metricQuantities), `metric ${objective?.name}`);
  addChart("slices", "Metric over each axis", "One point for each configuration, bars are ± the standard deviation over seeds; the best is outlined. Configurations that diverged may lie beyond the axis.", [metricLabel], (body) => {
    const measure = quantityOf(metric);
    const rows = state.visible.filter((each) => measure.value(each) !== null).toReversed();
    body.className = "chart slices";
    if (!body.children.length) body.append(...varied.map(() => make("div")));
    varied.forEach((quantity, place) => points(body.children[place], quantity, measure, rows, { height: 280, margin: { l: 55, r: 10, t: 10, b: 45 } }, null));
    return rows.length;
  });
}

// Draw one point for each configuration; the best and the selected one are outlined.
function points(body, across, up, rows, layout, by, [logX, logY] = []) {
  const known = rows.filter((each) => across.value(each) !== null && up.value(each) !== null);
  if (!known.length) { Plotly.purge(body); return 0; }
  const bars = known.length <= 100;
  const errors = (quantity) => (bars && quantity.std && known.some(quantity.std) ? { type: "data", array: known.map(quantity.std), thickness: 1, width: 3, color: css("--quiet") } : {});
  const outline = (each, best, selected, other) => (each.place === state.selected ? selected : isBest(each) ? best : other);
  draw(body, [{
    x: known.map(placeOf(across, known)), y: known.map(placeOf(up, known)), error_x: errors(across), error_y: errors(up), mode: "markers",
    marker: {
      ...(by ? colouring(by, known) : { color: colour(0) }), opacity: 1, size: known.map((each) => outline(each, 13, 14, 8)),
      line: { width: known.map((each) => outline(each, 3, 3, 0.5)), color: known.map((each) => outline(each, "#d55e00", css("--accent"), css("--page"))) },
    },
    hoverinfo: "text", hovertext: known.map((each) => tooltip(each, ...[across, up, by].filter((quantity) => quantity?.metric).map(({ name }) => name), ...(objective ? [objective.name] : []))),
  }, ...frontLine(across, up, known)], { ...layout, xaxis: scaleOf(across, known, logX), yaxis: scaleOf(up, known, logY) });
  return known.length;
}

function frontLine(across, up, known) {
  const pair = [across.name, up.name];
  if (!data.search?.front.length || data.objectives.length !== 2 || !data.objectives.every(({ name }) => pair.includes(name))) return [];
  const front = known.filter(isBest).sort((one, other) => across.value(one) - across.value(other));
  return [{ x: front.map(across.value), y: front.map(up.value), mode: "lines", line: { color: "#d55e00", width: 1.5 }, hoverinfo: "skip" }];
}

function scatter() {
  if (!metricQuantities.length) return;
  const names = metricQuantities.map(({ name }) => name);
  const pair = data.objectives.length > 1 ? data.objectives.map(({ name }) => name) : ["val/loss", "probe/val_acc"];
  const [across, up] = pair.map((name, place) => `metric ${names.includes(name) ? name : names[Math.min(place, names.length - 1)]}`);
  const [xLabel, x] = selectOf("Across", choicesOf(quantities), across);
  const [yLabel, y] = selectOf("Up", choicesOf(quantities), up);
  const [byLabel, by] = selectOf("Colour", choicesOf(quantities), (variedAxes[0] ?? quantities[0]).key);
  const scales = [["", "scale by itself"], ["linear", "linear"], ["log", "log"]];
  const [xScaleLabel, xScale] = selectOf("Across is", scales, "");
  const [yScaleLabel, yScale] = selectOf("Up is", scales, "");
  const log = (select) => (select.value ? select.value === "log" : undefined);
  const caption = data.search?.front.length
    ? "One point for each trial; the outlined ones are the Pareto front: no other trial is at least as good in each objective and better in one."
    : "One point for each configuration, bars are ± the standard deviation over seeds; the best by the objective is outlined. Configurations that diverged may lie beyond the axis.";
  addChart("scatter", "Any two quantities", caption, [xLabel, yLabel, byLabel, xScaleLabel, yScaleLabel], (body, figure) => {
    const shade = quantityOf(by);
    const levels = isNumeric(shade, state.visible) ? [] : levelsOf(shade, state.visible);
    setKey(figure, levels.map((level, place) => [`${shade.name}=${shown(level)}`, colour(place), "point"]));
    return points(body, quantityOf(x), quantityOf(y), state.visible.toReversed(), { height: 440 }, shade, [log(xScale), log(yScale)]) || true;
  });
}

function parallel() {
  const varied = variedAxes;
  const measures = metricQuantities.filter(({ name }) => data.objectives.some((each) => each.name === name) || name === "probe/val_acc");
  if (!varied.length || !measures.length) return;
  const [byLabel, by] = selectOf("Colour", choicesOf(measures), measures[0].key);
  addChart("parallel", "Parallel coordinates", "One line for each configuration that has all of the values. Drag along an axis to keep the lines that pass there, click beside the axis to release them.", [byLabel], (body) => {
    const shade = quantityOf(by);
    const rows = state.visible.filter((each) => [...varied, ...measures].every((quantity) => quantity.value(each) !== null));
    if (!rows.length) return false;
    const { showscale, color, colorscale, reversescale, cmin, cmax, colorbar } = colouring(shade, rows);
    const small = body.clientWidth < 500;
    draw(body, [{
      type: "parcoords", dimensions: [...varied, ...measures].map((quantity) => dimensionOf(quantity, rows)),
      line: { color, colorscale, reversescale, cmin, cmax, showscale: showscale && !small, colorbar },
      unselected: { line: { color: css("--other"), opacity: 0.15 } },
      labelangle: small ? -25 : 0, labelfont: { color: css("--text") }, tickfont: { color: css("--text"), size: 11 }, rangefont: { color: "rgba(0,0,0,0)" },
    }], { height: 420, margin: { l: 60, r: small ? 40 : 60, t: small ? 80 : 50, b: 25 } });
    return true;
  });
}

function dimensionOf(quantity, rows) {
  const values = rows.map(quantity.value);
  const levels = levelsOf(quantity, rows);
  if (!isNumeric(quantity, rows)) return { label: plain(quantity.name), values: values.map((value) => levels.indexOf(value)), tickvals: levels.map((_, place) => place), ticktext: levels.map(shown) };
  const log = isLog(quantity, rows);
  const place = (value) => (log ? Math.log10(value) : value);
  const range = quantity.metric ? windowOf(values, highIsGood(quantity.name)) : [levels[0], levels.at(-1)].map(place);
  if (range[0] === range[1]) { range[0] -= 1; range[1] += 1; }
  const ticks = !quantity.metric && levels.length <= 8 ? levels.map(place) : [0, 1, 2, 3, 4].map((step) => range[0] + (step / 4) * (range[1] - range[0]));
  return {
    label: plain(quantity.name), range, values: values.map((value) => Math.min(range[1], Math.max(range[0], place(value)))),
    tickvals: ticks, ticktext: ticks.map((tick) => shown(Number((log ? 10 ** tick : tick).toPrecision(quantity.metric ? 3 : 4)))),
  };
}

// A search over time.

function history() {
  if (!data.search) return;
  const [whichLabel, which] = selectOf("Objective", data.objectives.map(({ name }) => [name, name]), objective.name);
  addChart("history", "History of the search", "Each complete trial, with bars of ± the standard deviation over seeds, and the best value so far. Crosses: pruned trials at their last value. Trials that diverged may lie beyond the axis.", [whichLabel], (body, figure) => {
    const { name, higher } = data.objectives.find((each) => each.name === which.value);
    const byTime = [...state.visible].sort((one, other) => one.trial - other.trial);
    const complete = byTime.filter((each) => isNumber(each.stats[name]?.[0]));
    const pruned = name === objective.name ? byTime.filter((each) => each.status === "pruned" && each.last !== null) : [];
    const values = complete.map((each) => each.stats[name][0]);
    const range = windowOf(values.length ? values : pruned.map((each) => each.last), higher);
    if (!range) return false;
    const better = higher ? Math.max : Math.min;
    const text = { mode: "markers", hoverinfo: "text" };
    draw(body, [
      { ...text, x: pruned.map((each) => each.trial), y: pruned.map((each) => Math.min(range[1], Math.max(range[0], each.last))), marker: { symbol: "x", size: 7, color: css("--quiet") }, hovertext: pruned.map((each) => `${plain(each.label)}<br>pruned at ${measured(name, [each.last, null])}`) },
      { x: complete.map((each) => each.trial), y: values.map((_, place) => better(...values.slice(0, place + 1))), mode: "lines", line: { shape: "hv", color: colour(5), width: 2 }, hoverinfo: "skip" },
      { ...text, x: complete.map((each) => each.trial), y: values, error_y: { type: "data", array: complete.map((each) => each.stats[name][1] ?? 0), thickness: 1, width: 3 }, marker: { size: 8, color: colour(0) }, hovertext: complete.map((each) => tooltip(each, name)) },
    ], { xaxis: axisOf("trial", { tickformat: "d" }), yaxis: axisOf(name + unit(name), { range }) });
    setKey(figure, [["complete", colour(0), "point"], ["best so far", colour(5), "solid"], ...(pruned.length ? [["pruned", css("--quiet"), "point"]] : [])]);
    return true;
  });
}

function importances() {
  const found = data.search?.importances ?? [];
  if (!found.length) return;
  const [whichLabel, which] = selectOf("Objective", found.map(({ objective: name }) => [name, name]), found[0].objective);
  addChart("importances", "Importance of the parameters", "Share of the variance of the trials' ranks that each parameter explains (fANOVA), ± the standard deviation over resamples of the trials. Of all trials, whatever the filter.", [whichLabel], (body) => {
    const { names, mean, std } = found.find((each) => each.objective === which.value);
    draw(body, [{
      type: "bar", orientation: "h", y: names.map(plain), x: mean, error_x: { type: "data", array: std, color: css("--text"), thickness: 1.2 },
      marker: { color: colour(0) }, hoverinfo: "text", hovertext: names.map((name, place) => `${plain(name)}: ${mean[place]} ± ${std[place]}`), textposition: "none",
    }], { height: 110 + 32 * names.length, xaxis: axisOf("share of the variance of the ranks", { rangemode: "tozero" }), yaxis: axisOf("", { type: "category", autorange: "reversed" }) });
    return true;
  });
}
