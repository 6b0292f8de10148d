// The page: header, controls and pictures; every change draws the table and the charts again.
"use strict";

function showHeader() {
  document.getElementById("note").textContent = data.note;
  const { facts, test, job, pictures } = data.groups.find(({ name }) => name === state.group) ?? { facts: [], test: [], pictures: [] };
  document.querySelector("#facts dl").replaceChildren(...facts.flatMap(([name, text]) =>
    [make("dt", { textContent: name }), make("dd", {}, name === "command" ? make("code", { textContent: text }) : text)]));
  const best = ranked(state.group).find(isRanked);
  const measures = best ? data.objectives.map(({ name }) => `${name} ${measured(name, best.stats[name])}`) : [];
  const several = data.objectives.length > 1;
  document.getElementById("best").textContent = best && !several ? `Best: ${best.label}, ${measures.join(", ")}.` : "";
  document.getElementById("test").textContent = test.length ? `Its test metrics, which take no part in the choice: ${test.map((each) => each.join(" ")).join(", ")}.` : "";
  document.getElementById("pictures").hidden = !pictures.length;
  const known = data.jobs.find((each) => each.job === job);
  document.getElementById("pictures-job").replaceChildren(...(known ? ["Of the job ", make("a", { href: known.href, textContent: job }), "; click to enlarge."] : []));
  document.querySelector(".gallery").replaceChildren(...pictures.map(({ title, src }) => {
    const button = make("button", { type: "button" }, make("img", { src, alt: `${title} of the best model` }));
    button.addEventListener("click", () => {
      Object.assign(document.querySelector("#enlarged img"), { src, alt: title });
      document.getElementById("enlarged").showModal();
    });
    return make("figure", {}, button, make("figcaption", { textContent: title }));
  }));
}

function showAll() {
  applyFilter();
  showTable();
  drawCharts();
}

function addControls() {
  const [group, view, filter, columns] = ["group", "view", "filter", "columns"].map((id) => document.getElementById(id));
  fillSelect(group, data.groups.map(({ name }) => [name, name]), state.group);
  document.getElementById("grouping").hidden = data.groups.length < 2;
  group.addEventListener("change", () => {
    Object.assign(state, { group: group.value, selected: null });
    showHeader();
    showAll();
  });
  fillSelect(view, [["configurations", data.search ? "trials" : "configurations"], ["jobs", "jobs"]], state.view);
  view.addEventListener("change", () => {
    state.view = view.value;
    showAll();
  });
  let waiting;
  filter.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      state.filter = filter.value;
      showAll();
    }, 150);
  });
  columns.append(...[...data.metrics, "seconds"].map((name) => {
    const box = make("input", { type: "checkbox", checked: !hidden.has(name) });
    box.addEventListener("change", () => {
      hidden[box.checked ? "delete" : "add"](name);
      showTable();
    });
    return make("label", {}, box, ` ${name}`);
  }));
  const dialog = document.getElementById("enlarged");
  dialog.addEventListener("click", (event) => event.target.closest("button") ?? dialog.close());
}

addControls();
showHeader();
document.getElementById("facts").open = window.innerWidth > 640;
for (const add of [curvesChart, history, importances, heatMap, slices, scatter, parallel]) add();
showAll();
// Colours and widths are those of the screen or of paper.
for (const query of [matchMedia("(prefers-color-scheme: dark)"), printing]) query.addEventListener("change", drawCharts);
