// The page's data: configurations with the statistics of their jobs, and how values are shown.
"use strict";

const data = JSON.parse(document.getElementById("content").textContent);
const objective = data.objectives[0];
const metricPlace = new Map(data.metrics.map((name, place) => [name, place]));

const isNumber = (value) => typeof value === "number";
const finite = (values) => values.filter((value) => isNumber(value) && Number.isFinite(value));
const highIsGood = (metric) => data.objectives.find((each) => each.name === metric)?.higher ?? metric.endsWith("_acc");

function statistics(numbers) {
  if (!numbers.length) return [null, null];
  const mean = numbers.reduce((sum, value) => sum + value, 0) / numbers.length;
  const squares = numbers.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return [mean, numbers.length > 1 ? Math.sqrt(squares / (numbers.length - 1)) : null];
}

// A metric as reports/results.py shows it.
function measured(metric, [mean, std]) {
  if (mean === null) return "";
  const digits = metric.endsWith("_acc") ? 4 : 2;
  const text = (value, small) => (mean !== 0 && Math.abs(mean) < 0.1 && digits === 2 ? value.toPrecision(small) : value.toFixed(digits));
  return text(mean, 3) + (std === null || (std === 0 && mean !== 0 && Math.abs(mean) < 0.1 && digits === 2) ? "" : ` ± ${text(std, 2)}`);
}

// The value of an axis: fractions with 4 significant digits.
const shown = (value) =>
  value === null ? "" : isNumber(value) && !Number.isInteger(value) ? String(Number(value.toPrecision(4))) : String(value);

// A configuration by its values on the axes on which those of its group differ, or on all if there is no other.
function labelOf(configuration, kin) {
  const differ = (place) => kin.length < 2 || kin.some((each) => String(each.values[place]) !== String(kin[0].values[place]));
  const values = data.axes.flatMap((axis, place) =>
    configuration.values[place] === null || !differ(place) ? [] : [`${axis}=${shown(configuration.values[place])}`]);
  const trial = configuration.trial === undefined ? [] : [`trial ${configuration.trial}`];
  return [...trial, ...values].join(", ") || configuration.rows[0]?.job || "";
}

const jobs = data.jobs.map((job, place) => ({
  ...job, place,
  stats: Object.fromEntries(data.metrics.map((name, index) => [name, [job.metrics[index], null]])),
}));

const configurations = data.configurations.map((given, place) => {
  const rows = given.jobs.map((job) => jobs[job]);
  const complete = rows.filter((job) => job.status === "complete");
  const stats = Object.fromEntries(data.metrics.map((name) =>
    [name, statistics(finite(complete.map((job) => job.stats[name][0])))]));
  for (const [name, value] of Object.entries(given.given ?? {})) if (value[0] !== null) stats[name] = value;
  const status = given.status ??
    (complete.length === rows.length ? "complete"
      : complete.length ? `${complete.length} of ${rows.length} complete` : rows[0].status);
  const configuration = { ...given, place, rows, stats, status, group: rows[0]?.group ?? "", runs: complete.length };
  for (const job of rows) job.configuration = configuration;
  return configuration;
});

for (const configuration of configurations) {
  configuration.label = labelOf(configuration, configurations.filter(({ group }) => group === configuration.group));
}

const score = (configuration) => {
  const value = objective && configuration.stats[objective.name]?.[0];
  return isNumber(value) ? (objective.higher ? -value : value) : Infinity;
};
const isRanked = (configuration) => score(configuration) < Infinity;

// The configurations of a group, best first; the pruned, failed and unfinished ones last.
function ranked(group) {
  const inGroup = configurations.filter((each) => data.groups.length < 2 || each.group === group);
  return inGroup.sort((one, other) => (score(one) === score(other) ? 0 : score(one) - score(other)));
}

// The mean and the deviation of a metric over a configuration's jobs, by epoch.
function curveOf(configuration, metric) {
  const complete = configuration.rows.filter((job) => job.status === "complete");
  const byEpoch = new Map();
  for (const job of complete.length ? complete : configuration.rows) {
    const curves = data.curves[job.place];
    curves?.[metric]?.forEach((value, step) => {
      if (value === null) return;
      const epoch = curves.epoch[step];
      byEpoch.set(epoch, [...(byEpoch.get(epoch) ?? []), value]);
    });
  }
  return [...byEpoch].sort(([one], [other]) => one - other).map(([epoch, values]) => [epoch, ...statistics(values)]);
}

// The range of an axis without the configurations that diverged, as in reports/outliers.py.
function windowOf(values, higher) {
  const costs = finite(values).map((value) => (higher ? -value : value)).sort((one, other) => one - other);
  if (!costs.length) return null;
  const quantile = (share) => costs[Math.round(share * (costs.length - 1))];
  let worst = Math.min(costs.at(-1), quantile(0.75) + 3 * (quantile(0.75) - quantile(0.25)));
  if (worst === costs[0]) worst = costs.at(-1);
  const margin = 0.06 * (worst - costs[0]) || 0.05 * Math.abs(costs[0]) || 0.1;
  const ends = [costs[0] - margin, worst + margin];
  return higher ? [-ends[1], -ends[0]] : ends;
}

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function fillSelect(select, choices, chosen) {
  select.replaceChildren(...choices.map(([value, label]) => make("option", { value, textContent: label })));
  select.value = choices.some(([value]) => value === chosen) ? chosen : (choices[0]?.[0] ?? "");
}
