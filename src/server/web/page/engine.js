// The engine's view: connects to its events, and shows the numbers.
import { ApiError, events, request } from './api.js';
import { count, duration, element, find } from './dom.js';
import { showAttention } from './attention.js';
import { showBlocks } from './blocks.js';
import { showSteps } from './steps.js';

const kRateWindow = 2; // seconds
const kLatencyWindow = 30;
const tiles = new Map();
let samples = []; // {time, stats, latency}, the oldest first
let controller = null;

function setUpTiles() {
  const names = ['Output tok/s', 'Prompt tok/s', 'Running', 'Waiting', 'KV cache', 'Prefix hits',
    'First token', 'Per token'];
  for (const name of names) {
    const value = element('dd', {}, '–');
    tiles.set(name, value);
    find('tiles').append(element('div', { className: 'tile' }, element('dt', {}, name), value));
  }
}

function setTile(name, text, title = '') {
  const tile = tiles.get(name);
  if (tile.textContent !== text) tile.textContent = text;
  tile.parentElement.title = title;
}

// The last sample that is at least this old, or the oldest.
function sampleBefore(seconds) {
  const limit = performance.now() / 1000 - seconds;
  let found = samples[0];
  for (const sample of samples) if (sample.time <= limit) found = sample;
  return found;
}

function mean(name) {
  const last = samples.at(-1).latency[name];
  const before = sampleBefore(kLatencyWindow).latency[name];
  const recent = last.count > before.count;
  const number = last.count - (recent ? before.count : 0);
  return number > 0 ? duration((last.seconds - (recent ? before.seconds : 0)) / number) : '–';
}

function showNumbers() {
  if (samples.length === 0) return;
  const { stats } = samples.at(-1);
  const before = sampleBefore(kRateWindow);
  const now = performance.now() / 1000;
  const seconds = Math.max(Math.min(kRateWindow, now - before.time), 0.2);
  const rate = (name) => count((stats[name] - before.stats[name]) / seconds);
  setTile('Output tok/s', rate('tokens_generated'), 'over the last two seconds');
  setTile('Prompt tok/s', rate('prompt_tokens_computed'), 'over the last two seconds');
  setTile('Running', count(stats.running));
  setTile('Waiting', count(stats.waiting), `${count(stats.preemptions)} preemptions so far`);
  const used = stats.blocks_used / Math.max(stats.blocks_total, 1);
  setTile('KV cache', `${(used * 100).toFixed(used > 0 && used < 0.1 ? 1 : 0)} %`,
    `${count(stats.blocks_used)} of ${count(stats.blocks_total)} blocks in use`);
  const hits = stats.prefix_cache_hits / stats.prefix_cache_queries;
  setTile('Prefix hits', Number.isFinite(hits) ? `${Math.round(hits * 100)} %` : '–',
    `${count(stats.prefix_cache_hits)} of ${count(stats.prefix_cache_queries)} prompt tokens`);
  setTile('First token', mean('first_token'), 'mean of the last answers');
  setTile('Per token', mean('between_tokens'), 'mean time between tokens of the last answers');
}

function show(view) {
  const time = performance.now() / 1000;
  if (samples.length > 0 && view.stats.steps < samples.at(-1).stats.steps) samples = []; // restarted
  samples.push({ time, stats: view.stats, latency: view.latency });
  while (samples.length > 2 && samples[1].time < time - kLatencyWindow) samples.shift();
  showNumbers();
  showBlocks(view);
  showSteps(view);
  showAttention(view);
}

function setStatus(state, text) {
  const status = find('status');
  if (status.dataset.state === state) return;
  status.dataset.state = state;
  status.textContent = text;
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function watch(signal, onKeyWanted) {
  while (!signal.aborted) {
    let wait = 1000;
    try {
      const response = await request('/engine/events', { signal });
      setStatus('live', 'live');
      for await (const data of events(response)) show(JSON.parse(data));
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiError && error.status === 401) {
        setStatus('key', 'API key needed');
        onKeyWanted();
        return;
      }
      if (error instanceof ApiError && error.status === 503) {
        setStatus('loading', 'loading');
        wait = 300;
      }
    }
    if (find('status').dataset.state === 'live') setStatus('off', 'not connected');
    await pause(wait);
  }
}

// Nobody watches a hidden page: the engine need not show itself.
export function connect(onKeyWanted) {
  controller?.abort();
  controller = null;
  if (document.hidden) return;
  controller = new AbortController();
  watch(controller.signal, onKeyWanted);
}

export function setUpEngine(onKeyWanted) {
  setUpTiles();
  setInterval(showNumbers, 500);
  document.addEventListener('visibilitychange', () => connect(onKeyWanted));
  connect(onKeyWanted);
}
