// Who computes the layers of each kind, why nobody else does, and the switch.
import { request } from './api.js';
import { element, find, plural, showError } from './dom.js';

let latest = null; // the engine's view
let shown = ''; // what stands there, as JSON

const nanoseconds = (value) => (value >= 100 ? value.toFixed(0) : value.toPrecision(3));

// "0", "0–5", "0, 2, 4"
function layerList(layers) {
  const [first, last] = [layers[0], layers.at(-1)];
  if (layers.length > 2 && last - first + 1 === layers.length) return `${first}–${last}`;
  return layers.join(', ');
}

async function choose(kind, backend) {
  const error = find('attention-error');
  try {
    await request('/engine/backend', { body: { kind, backend } });
    showError(error, null);
  } catch (problem) {
    showError(error, problem);
    shown = '';
    showAttention(latest); // the choice as it still is
  }
}

function option(index, name, checked, enabled, cells) {
  const radio = element('input', {
    type: 'radio', name: `kind-${index}`, value: name, checked, disabled: !enabled,
  });
  radio.addEventListener('change', () => choose(index, radio.value));
  const label = element('label', {}, radio, element('span', {}, name));
  return element('tr', { className: enabled ? '' : 'refused' }, element('td', {}, label), ...cells);
}

const number = (text) => element('td', { className: 'number' }, text);

function candidateRow(kind, index, candidate) {
  const chosen = !kind.automatic && kind.backend === candidate.name;
  const serves = kind.backend === candidate.name;
  const cells = candidate.usable
    ? [number(nanoseconds(candidate.prefill_ns_per_key)),
      number(nanoseconds(candidate.decode_ns_per_key)),
      element('td', { className: `verdict${serves ? ' serves' : ''}` }, serves ? 'in use' : 'usable')]
    : [element('td', { colSpan: 3, className: 'muted' }, candidate.reasons.join('; '))];
  return option(index, candidate.name, chosen, candidate.usable, cells);
}

function kindTable(kind, index) {
  const head = element('tr', {}, ...['Backend', 'prefill ns/key', 'decode ns/key', ''].map(
    (text, i) => element('th', { scope: 'col', className: i === 1 || i === 2 ? 'number' : '' }, text)));
  const automatic = option(index, 'auto', kind.automatic, true, [
    element('td', { colSpan: 3, className: 'muted' }, kind.automatic
      ? `${kind.backend}, by predicted cost` : 'the one with the lowest predicted cost')]);
  // By name: a row stays where it is when another one is chosen.
  const candidates = [...kind.candidates].sort((a, b) => Number(b.usable) - Number(a.usable)
    || a.name.localeCompare(b.name));
  return element('fieldset', {},
    element('legend', {}, `${kind.kind} attention, ${plural(kind.layers.length, 'layer')}`
      + ` (${layerList(kind.layers)}): `, element('strong', {}, kind.backend)),
    element('p', { className: 'spec muted' }, `${kind.spec}; on ${latest.device}`),
    element('div', { className: 'scroll' },
      element('table', {}, element('thead', {}, head),
        element('tbody', {}, automatic,
          ...candidates.map((candidate) => candidateRow(kind, index, candidate))))));
}

export function showAttention(view) {
  latest = view;
  const text = JSON.stringify(view.attention);
  if (text === shown) return;
  shown = text;
  const place = find('attention');
  const focused = place.contains(document.activeElement) ? document.activeElement : null;
  place.replaceChildren(...view.attention.map(kindTable));
  if (focused) {
    place.querySelector(`input[name="${focused.name}"][value="${CSS.escape(focused.value)}"]`)?.focus();
  }
}
