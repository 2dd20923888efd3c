// The last steps: what was in them, and how long they took.
import { colour, count, duration, find, plural, prepareCanvas } from './dom.js';

const kSteps = 200; // as many as the engine remembers
const kRowsHeight = 110;
const kGap = 14;
const kTimeHeight = 56;
const kAxis = 52; // pixels for the labels on the left
const canvas = find('steps');
let steps = [];

const decode = (step) => step[3];
const prefill = (step) => step[4];

// 1, 2 or 5 times a power of ten, at least `value`.
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1e-9)));
  return [1, 2, 5, 10].map((digit) => digit * power).find((rounded) => rounded >= value * 0.999);
}

// `labels` from the top to the bottom, at equal distances.
function axis(context, top, height, labels, width) {
  context.strokeStyle = colour('--line');
  context.fillStyle = colour('--muted');
  context.beginPath();
  labels.forEach((label, i) => {
    const y = Math.round(top + (height * i) / (labels.length - 1));
    context.moveTo(kAxis, y + 0.5);
    context.lineTo(width, y + 0.5);
    context.fillText(label, kAxis - 8, i === 0 ? y + 5 : y);
  });
  context.stroke();
}

function draw() {
  const width = canvas.clientWidth;
  if (width === 0) return;
  const context = prepareCanvas(canvas, width, kRowsHeight + kGap + kTimeHeight + 6);
  context.font = '11px system-ui, sans-serif';
  context.textAlign = 'right';
  context.textBaseline = 'middle';
  const most = roundUp(Math.max(1, ...steps.map((step) => decode(step) + prefill(step))));
  const longest = roundUp(Math.max(1e-4, ...steps.map((step) => step[2])));
  const timeTop = 3 + kRowsHeight + kGap;
  // Square roots: a prompt's hundreds of rows leave the few that decode visible.
  axis(context, 3, kRowsHeight, [count(most), most >= 4 ? count(most / 4) : '', '0'], width);
  axis(context, timeTop, kTimeHeight, [duration(longest), '0'], width);
  const colours = {
    decode: colour('--decode'), prefill: colour('--prefill'), time: colour('--time'),
    switch: colour('--switch'),
  };
  const slot = (width - kAxis) / kSteps;
  steps.forEach((step, i) => {
    const x = kAxis + (i + kSteps - steps.length) * slot;
    const bar = Math.max(slot - (slot >= 3 ? 1 : 0), 1);
    let y = 3 + kRowsHeight;
    const total = decode(step) + prefill(step);
    const perRow = Math.sqrt(total / most) * kRowsHeight / total;
    for (const [rows, fill] of [[decode(step), colours.decode], [prefill(step), colours.prefill]]) {
      if (rows === 0) continue;
      const height = Math.max(rows * perRow, 2); // what is there can be seen
      y -= height;
      context.fillStyle = fill;
      context.fillRect(x, Math.max(y, 3), bar, height);
    }
    const time = Math.max(step[2] / longest * kTimeHeight, 1);
    context.fillStyle = colours.time;
    context.fillRect(x, timeTop + kTimeHeight - time, bar, time);
    if (i > 0 && step[6] !== steps[i - 1][6]) {
      context.fillStyle = colours.switch;
      context.fillRect(x - 1, 3, 1.5, timeTop + kTimeHeight - 3);
    }
  });
}

function describe(step) {
  const [number, , seconds, decodeRows, prefillRows, requests] = step;
  return `Step ${count(number)}: ${plural(requests, 'request')}, ${plural(decodeRows, 'decode row')}, `
    + `${plural(prefillRows, 'prefill row')}, ${duration(seconds)}`;
}

export function showSteps(view) {
  steps = view.steps;
  draw();
  const text = steps.length > 0 ? describe(steps.at(-1)) : 'none yet';
  const { draft_tokens: drafts, accepted_tokens: accepted } = view.stats;
  const guesses = drafts > 0
    ? ` · ${Math.round(accepted / drafts * 100)} % of ${count(drafts)} guessed tokens were right` : '';
  find('steps-text').textContent = steps.length > 0 ? `the last ${steps.length}${guesses}` : text;
  if (!canvas.matches(':hover')) find('steps-hint').textContent = text;
}

canvas.addEventListener('mousemove', (event) => {
  const slot = (canvas.clientWidth - kAxis) / kSteps;
  const i = Math.floor((event.offsetX - kAxis) / slot) - (kSteps - steps.length);
  if (steps[i]) find('steps-hint').textContent = describe(steps[i]);
});
new ResizeObserver(draw).observe(canvas);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
