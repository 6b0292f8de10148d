// The table: columns, sorting, filtering.
"use strict";

const state = { group: data.groups[0]?.name ?? "", view: "configurations", sort: null, filter: "", selected: null, all: [], visible: [] };
const SHOWN = new Set([...data.objectives.map((each) => each.name), "val/loss", "val/recon", "val/kl", "probe/val_acc",
  ...(data.metrics.includes("gradient/variance") ? ["gradient/bias", "gradient/noise", "gradient/variance", "speed/step_seconds"] : [])]);
const hidden = new Set([...data.metrics.filter((name) => !SHOWN.has(name)), "seconds"]);

const links = (rows, text) => rows.map((job, place) => make("a", { href: job.href, textContent: text(job, place), title: job.job }));

// Each with its value, by which it is sorted and filtered, and what a cell shows.
function columnsOf(view) {
  const column = (label, value, cell = (row) => shown(value(row)), kind = "") => ({ label, value, cell, kind });
  const axes = (names) => names.map((name, place) => column(name, (row) => row.values[place]));
  const names = [...new Set([...data.objectives.map((each) => each.name), ...data.metrics])];
  const metrics = names.map((name) => column(
    name, (row) => row.stats[name]?.[0] ?? null, (row) => (row.stats[name] ? measured(name, row.stats[name]) : ""), "number"));
  const status = column("status", (row) => row.status);
  if (view === "jobs") return [
    column("job", (row) => row.job, (row) => links([row], (job) => job.job)), ...axes(data.job_axes),
    ...(data.jobs.some((job) => job.seed !== null) ? [column("seed", (row) => row.seed)] : []),
    status, ...metrics, column("seconds", (row) => row.seconds, (row) => row.seconds?.toFixed(1) ?? "", "number"),
    ...(data.jobs.some((job) => job.why) ? [column("why", (row) => row.why, undefined, "long")] : []),
  ];
  return [
    column("rank", (row) => row.rank, selector, "number"),
    ...(data.search ? [column("trial", (row) => row.trial)] : []),
    ...axes(data.axes), ...metrics, column("runs", (row) => row.runs), status,
    column("jobs", (row) => row.rows.length, (row) => links(row.rows, (job, place) => (job.seed === null ? `job ${place + 1}` : `seed ${job.seed}`))),
  ];
}

function selector(row) {
  const button = make("button", { type: "button", textContent: row.rank ?? "–", title: "Highlight in the charts" });
  button.setAttribute("aria-pressed", String(state.selected === row.place));
  return [button];
}

function compare(one, other) {
  if (isNumber(one) && isNumber(other)) return one - other;
  return String(one).localeCompare(String(other), undefined, { numeric: true });
}

const OPERATORS = {
  ">=": (order) => order >= 0, "<=": (order) => order <= 0, "!=": (order) => order !== 0,
  "=": (order) => order === 0, ">": (order) => order > 0, "<": (order) => order < 0,
};

// The rows' test that a filter stands for, and the words that name no column.
function filterOf(text, columns) {
  const unknown = [];
  const tests = text.trim().split(/\s+/).filter(Boolean).map((word) => {
    const [, name, operator, wanted] = /^(.+?)(>=|<=|!=|=|>|<)(.+)$/.exec(word) ?? [];
    if (!operator) {
      const sought = word.toLowerCase();
      return (row) => columns.some(({ value }) => shown(value(row) ?? "").toLowerCase().includes(sought));
    }
    const column = columns.find(({ label }) => label === name) ?? columns.find(({ label }) => label.endsWith(name));
    if (!column) unknown.push(name);
    const number = Number(wanted);
    const target = Number.isNaN(number) ? wanted : number;
    return (row) => {
      const value = column?.value(row) ?? null;
      return value !== null && OPERATORS[operator](compare(isNumber(value) ? value : String(value), isNumber(value) ? target : wanted));
    };
  });
  return { test: (row) => tests.every((test) => test(row)), unknown };
}

function sorted(rows, columns) {
  const column = state.sort && columns.find(({ label }) => label === state.sort.label);
  if (!column) return rows;
  const sign = state.sort.descending ? -1 : 1;
  return [...rows].sort((one, other) => {
    const [first, second] = [column.value(one) ?? null, column.value(other) ?? null];
    // A missing value is last in both directions.
    if (first === null || second === null) return (first === null) - (second === null);
    return sign * compare(first, second);
  });
}

function headerOf(column) {
  const direction = state.sort?.label !== column.label ? "none" : state.sort.descending ? "descending" : "ascending";
  const button = make("button", { type: "button", textContent: column.label });
  button.addEventListener("click", () => {
    const same = state.sort?.label === column.label;
    state.sort = { label: column.label, descending: same ? !state.sort.descending : column.kind === "number" && highIsGood(column.label) };
    showTable();
    [...document.querySelectorAll("#table th button")].find((each) => each.textContent === column.label).focus();
  });
  const cell = make("th", { scope: "col", className: column.kind }, button);
  cell.setAttribute("aria-sort", direction);
  return cell;
}

function rowOf(row, columns) {
  const configuration = state.view === "jobs" ? row.configuration : row;
  const line = make("tr", {}, ...columns.map((column) => {
    const content = column.cell(row);
    return make("td", { className: column.kind }, ...(Array.isArray(content) ? content : [content]));
  }));
  line.classList.toggle("best", isBest(configuration));
  line.classList.toggle("selected", configuration !== undefined && configuration.place === state.selected);
  line.addEventListener("click", (event) => {
    if (event.target.closest("a") || !configuration) return;
    state.selected = state.selected === configuration.place ? null : configuration.place;
    showTable();
    drawCharts();
  });
  return line;
}

const isBest = (configuration) => configuration !== undefined && (data.search?.front.length
  ? data.search.front.includes(configuration.trial)
  : configuration.place === state.all[0]?.place && isRanked(state.all[0]));

// Keep the configurations of the group that pass the filter, for the charts as well.
function applyFilter() {
  state.all = ranked(state.group);
  state.all.forEach((each, place) => { each.rank = isRanked(each) ? place + 1 : null; });
  const { test, unknown } = filterOf(state.filter, columnsOf("configurations"));
  const ofJobs = filterOf(state.filter, columnsOf("jobs"));
  state.unknown = state.view === "jobs" ? ofJobs.unknown : unknown;
  state.rows = state.view === "jobs"
    ? jobs.filter((job) => (data.groups.length < 2 || job.group === state.group) && ofJobs.test(job))
    : state.all.filter(test);
  const kept = new Set(state.view === "jobs" ? state.rows.map((job) => job.configuration?.place) : state.rows.map((each) => each.place));
  state.visible = state.all.filter((each) => kept.has(each.place));
}

function showTable() {
  const columns = columnsOf(state.view).filter(({ label, value }) =>
    !hidden.has(label) && state.rows.some((row) => (value(row) ?? null) !== null || state.rows.length === 0));
  for (const column of columns) if (state.rows.some((row) => isNumber(column.value(row)))) column.kind = "number";
  const table = document.getElementById("table");
  table.tHead.replaceChildren(make("tr", {}, ...columns.map(headerOf)));
  table.tBodies[0].replaceChildren(...sorted(state.rows, columns).map((row) => rowOf(row, columns)));
  const total = state.view === "jobs" ? jobs.filter((job) => data.groups.length < 2 || job.group === state.group).length : state.all.length;
  document.getElementById("count").textContent = state.unknown.length
    ? `There is no column ${state.unknown.join(", ")}.`
    : `${state.rows.length} of ${total} ${state.view === "jobs" ? "jobs" : data.search ? "trials" : "configurations"}`;
}
