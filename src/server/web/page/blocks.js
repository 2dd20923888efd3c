// The map of the KV cache's blocks.
import { colour, count, element, find, plural, prepareCanvas, requestColour } from './dom.js';

const kMaxHeight = 260;
const kSmallest = 2; // pixels of a cell
const kLargest = 15;
const kCached = -1;
const canvas = find('blocks');
const all = find('blocks-all');
const chips = new Map(); // request id -> {chip, text}
let view = null;
let layout = { cell: kLargest, columns: 1, shown: 0 };
let highest = 0; // blocks that were ever in use lie below it
let highlighted = null; // a request's id

function totals() {
  const result = { used: 0, shared: 0, cached: 0, free: 0, end: 0, all: 0 };
  for (let i = 0; i < view.blocks.length; i += 2) {
    const [number, owner] = [view.blocks[i], view.blocks[i + 1]];
    result.all += number;
    if (owner === 0) result.free += number;
    else result.end = result.all;
    if (owner === kCached) result.cached += number;
    if (owner > 0 || owner < kCached) result.used += number;
    if (owner < kCached) result.shared += number;
  }
  return result;
}

// The largest cells with which the blocks fit the width and the height.
function layOut(shown, width) {
  let cell = kLargest;
  while (cell > kSmallest && Math.ceil(shown / Math.floor(width / cell)) * cell > kMaxHeight) --cell;
  return { cell, columns: Math.max(1, Math.floor(width / cell)), shown };
}

function fillFor(owner, colours) {
  if (owner === 0) return colours.free;
  if (owner === kCached) return colours.cached;
  if (owner < kCached) return colours.shared;
  return requestColour(owner);
}

function draw() {
  if (view === null) return;
  const sum = totals();
  highest = Math.min(sum.all, Math.max(highest, sum.end));
  // Most of a large pool is never touched: unless all are asked for, a part that grows is shown.
  let shown = 256;
  while (shown < highest) shown *= 2;
  shown = all.getAttribute('aria-pressed') === 'true' ? sum.all : Math.min(shown, sum.all);
  all.hidden = sum.all <= 256;
  const width = canvas.parentElement.clientWidth;
  layout = layOut(shown, width);
  const { cell, columns } = layout;
  const rows = Math.ceil(shown / columns);
  const context = prepareCanvas(canvas, width, Math.max(rows * cell, cell));
  const gap = cell >= 5 ? 1 : 0;
  const colours = {
    free: colour('--free'), cached: colour('--cached'), shared: colour('--shared'),
    mark: colour('--card'),
  };
  let block = 0;
  for (let i = 0; i < view.blocks.length && block < shown; i += 2) {
    const owner = view.blocks[i + 1];
    const end = Math.min(block + view.blocks[i], shown);
    context.fillStyle = fillFor(owner, colours);
    context.globalAlpha = highlighted !== null && owner > 0 && owner !== highlighted ? 0.25 : 1;
    while (block < end) {
      const row = Math.floor(block / columns);
      const column = block % columns;
      // Without gaps a row of cells is one rectangle.
      const length = gap > 0 ? 1 : Math.min(end - block, columns - column);
      context.fillRect(column * cell, row * cell, cell * length - gap, cell - gap);
      if (owner < kCached && cell >= 6) {
        const size = Math.floor(cell / 3);
        const inset = (cell - gap - size) / 2;
        context.fillStyle = colours.mark;
        context.fillRect(column * cell + inset, row * cell + inset, size, size);
        context.fillStyle = colours.shared;
      }
      block += length;
    }
  }
  context.globalAlpha = 1;
  const text = `${count(sum.used)} in use${sum.shared ? `, ${count(sum.shared)} of them shared` : ''}`
    + ` · ${count(sum.cached)} cached · ${count(sum.free)} free`;
  find('blocks-text').textContent = text;
  canvas.setAttribute('aria-label', `Map of ${plural(sum.all, 'block')}: ${text}`);
  if (!canvas.matches(':hover')) {
    find('blocks-hint').textContent = shown < sum.all
      ? `The first ${count(shown)} of ${plural(sum.all, 'block')} of ${plural(view.block_size, 'token')}; nothing has used the rest yet.`
      : `${plural(sum.all, 'block')} of ${plural(view.block_size, 'token')}.`;
  }
}

function showRequests() {
  const list = find('requests');
  const present = new Set();
  for (const request of view.requests.slice(0, 64)) {
    present.add(request.id);
    let entry = chips.get(request.id);
    if (!entry) {
      const swatch = element('i', { className: 'swatch' });
      swatch.style.background = requestColour(request.id);
      const text = document.createTextNode('');
      const chip = element('li', {}, swatch, text);
      chip.addEventListener('mouseenter', () => highlight(request.id));
      chip.addEventListener('mouseleave', () => highlight(null));
      entry = { chip, text };
      chips.set(request.id, entry);
      list.append(chip);
    }
    const prefilling = request.computed_tokens < request.prompt_tokens;
    entry.text.data = `#${request.id}  ${prefilling
      ? `${count(request.computed_tokens)} of ${plural(request.prompt_tokens, 'prompt token')}`
      : `${count(request.prompt_tokens)} + ${plural(request.output_tokens, 'token')}`}`;
  }
  for (const [id, { chip }] of chips) {
    if (present.has(id)) continue;
    chip.remove();
    chips.delete(id);
    if (highlighted === id) highlight(null);
  }
}

function highlight(id) {
  highlighted = id;
  draw();
}

function ownerOf(block) {
  let end = 0;
  for (let i = 0; i < view.blocks.length; i += 2) {
    end += view.blocks[i];
    if (block < end) return view.blocks[i + 1];
  }
  return 0;
}

function describe(event) {
  if (view === null) return;
  const column = Math.floor(event.offsetX / layout.cell);
  const block = Math.floor(event.offsetY / layout.cell) * layout.columns + column;
  if (column >= layout.columns || block < 0 || block >= layout.shown) return;
  const owner = ownerOf(block);
  const who = owner > 0 ? `request #${owner}`
    : owner === 0 ? 'free'
      : owner === kCached ? 'free, its tokens are still known' : `shared by ${-owner} requests`;
  find('blocks-hint').textContent = `Block ${count(block)}: ${who}`;
}

export function showBlocks(next) {
  view = next;
  showRequests();
  draw();
}

canvas.addEventListener('mousemove', describe);
canvas.addEventListener('mouseleave', draw);
all.addEventListener('click', () => {
  all.setAttribute('aria-pressed', String(all.getAttribute('aria-pressed') !== 'true'));
  draw();
});
new ResizeObserver(draw).observe(canvas.parentElement);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  for (const { chip } of chips.values()) chip.remove();
  chips.clear();
  if (view !== null) showBlocks(view);
});
