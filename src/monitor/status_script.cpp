// Asks for the numbers every two seconds and shows them. See status_script.h.
#include "status_script.h"

namespace kvalign {

// Texts from the server become text, never markup; the plot alone is SVG, which the server draws.
const char* const kStatusScript = R"JS('use strict';
const POLL_MS = 2000, PATIENCE_MS = 5000;
const NONE = '–';
const element = id => document.getElementById(id);

const count = n => n.toLocaleString('en-US');
function withPrefix(value, unit, prefixes) {
  if (value === null || value === undefined) return NONE;
  let i = prefixes.indexOf('');
  while (value !== 0 && value < 0.9995 && i > 0) { value *= 1000; --i; }
  while (value >= 999.5 && i < prefixes.length - 1) { value /= 1000; ++i; }
  return Number(value.toPrecision(3)) + ' ' + prefixes[i] + unit;
}
const seconds = s => withPrefix(s, 's', ['n', 'µ', 'm', '']);
const bytes = n => withPrefix(n, 'B', ['', 'k', 'M', 'G', 'T']);
const rate = n => n === null ? NONE : Number(n.toPrecision(3)).toLocaleString('en-US');
const short = x => x === null ? NONE : x !== 0 && Math.abs(x) < 1e-3 ? x.toExponential(1)
    : String(Number(x.toPrecision(3)));
const percent = (part, whole) => whole === 0 ? NONE : short(100 * part / whole) + ' %';
function duration(s) {
  const parts = [[86400, 'd'], [3600, 'h'], [60, 'min']];
  for (const [size, unit] of parts) if (s >= size) return Math.floor(s / size) + ' ' + unit;
  return Math.floor(s) + ' s';
}

function set(id, text) {
  const at = element(id);
  if (at.textContent !== text) at.textContent = text;
}

// Rows of [text of the first column, texts of the others...].
function fill(id, rows, emptyText) {
  const body = element(id);
  const shown = rows.length ? rows : [[emptyText]];
  body.replaceChildren(...shown.map(cells => {
    const row = document.createElement('tr');
    cells.forEach((text, i) => {
      const cell = document.createElement(i === 0 ? 'th' : 'td');
      if (i === 0) cell.scope = 'row';
      cell.textContent = text;
      row.append(cell);
    });
    return row;
  }));
}

function verdict(passed, title, text) {
  element('verdict').className = 'verdict ' + (passed ? 'passed' : 'failed');
  set('verdict-title', (passed ? '✓ ' : '✗ ') + title);
  set('verdict-text', text);
}

// Requests a second between two answers of one server process.
function requestRate(previous, status) {
  if (!previous || status.uptime_seconds <= previous.uptime_seconds) return null;
  return (status.requests - previous.requests) /
      (status.uptime_seconds - previous.uptime_seconds);
}

function showDrift(tests) {
  fill('drift', tests.map(test => [
    test.model, test.alarm ? 'ALARM' : 'none', short(test.p_value), short(test.log10_martingale),
    short(-Math.log10(test.alpha)), count(test.requests) + ' of ' + count(test.round_requests),
    count(test.alarms) + ' of ' + count(test.finished_rounds + 1), count(test.reference_scores),
  ]), 'No model is watched: none has a reference.');
}

function showErrors(status) {
  // JSON has no infinity: it is null, where there were requests.
  const error = (of, x) => of.requests > 0 && x === null ? '∞' : short(x);
  const row = (name, of) => [name, count(of.requests), error(of, of.p50), error(of, of.p95),
    error(of, of.max)];
  fill('errors', [row('certified, as it came', status.errors.certified_wire),
                  row('certified, projected', status.errors.certified),
                  row('measured', status.errors.measured)], '');
  set('undefined-errors', count(status.undefined_errors));
  const plot = element('plot');
  if (status.errors.plot !== null) plot.innerHTML = status.errors.plot;
  element('plot-figure').hidden = status.errors.plot === null;
}

function show(status, previous) {
  set('name', status.models.length ? status.models.join(', ') : 'kvalign');
  set('requests', count(status.requests));
  set('rate', rate(requestRate(previous, status)));
  set('in-flight', count(status.in_flight));
  set('queue', count(status.queue.depth) + ' of ' + count(status.queue.capacity));
  set('tokens', count(status.tokens.cache));
  set('generated', count(status.tokens.generated));
  set('received', bytes(status.bytes.received));
  set('sent', bytes(status.bytes.sent));
  set('saturated', percent(status.fp8.saturated, status.fp8.elements));
  set('reloads', count(status.reloads.succeeded) + ', ' + count(status.reloads.failed) + ' failed');
  fill('answers', status.answers.map(a => [
    a.model + ' ' + a.method, a.status, a.outcome, a.reason, count(a.requests),
    percent(a.requests, status.requests),
  ]), 'No request yet.');
  fill('phases', status.phases.map(p => [
    p.phase, count(p.requests), seconds(p.p50), seconds(p.p95), seconds(p.max),
  ]), 'No request yet.');
  showErrors(status);
  showDrift(status.drift);
  const drifting = status.drift.filter(test => test.alarm).map(test => test.model);
  const about = 'Version ' + status.version + ', up for ' + duration(status.uptime_seconds) + '.';
  if (!status.ready) verdict(false, 'Not ready', 'Requests are not taken now. ' + about);
  else if (drifting.length) verdict(false, 'Drift', 'Requests are no longer like the reference of ' +
      drifting.join(', ') + '. ' + about);
  else verdict(true, 'Ready', about);
}

let last = null;
async function refresh() {
  try {
    const answer = await fetch('status', {
      cache: 'no-store', signal: AbortSignal.timeout(PATIENCE_MS),
    });
    if (!answer.ok) throw new Error('status ' + answer.status);
    const status = await answer.json();
    show(status, last);
    last = status;
  } catch (error) {
    verdict(false, 'No answer', 'The numbers below are old: ' + error.message + '.');
  }
  setTimeout(refresh, POLL_MS);
}
refresh();
)JS";

}  // namespace kvalign
