// The sampling settings: what stands in the form, as fields of a request.
import { find, element } from './dom.js';
import { read, write } from './api.js';

const inputs = [...find('fields').querySelectorAll('input, textarea')];
const kFirst = { temperature: '0', max_tokens: '256' };

function restore() {
  let values = kFirst;
  try {
    values = JSON.parse(read(localStorage, 'settings')) ?? kFirst;
  } catch {
    // The first ones, then.
  }
  for (const input of inputs) input.value = values[input.name] ?? '';
}

function save() {
  const values = Object.fromEntries(inputs.map((input) => [input.name, input.value]));
  write(localStorage, 'settings', JSON.stringify(values));
}

// What is left empty is not sent: the server's default counts.
export function samplingFields() {
  const fields = {};
  for (const { name, value, type } of inputs) {
    if (type === 'number' && value !== '') fields[name] = Number(value);
  }
  const stop = value('stop').split('\n').filter((line) => line !== '');
  if (stop.length > 0) fields.stop = stop;
  return fields;
}

export const systemMessage = () => value('system').trim();

const value = (name) => inputs.find((input) => input.name === name).value;

export function setUpSettings() {
  restore();
  for (const input of inputs) input.addEventListener('input', save);
  const reset = element('button', { type: 'button', className: 'quiet' }, 'Back to the first values');
  reset.addEventListener('click', () => {
    write(localStorage, 'settings', 'null');
    restore();
  });
  find('fields').append(reset);
}
