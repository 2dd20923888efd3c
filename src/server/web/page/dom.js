// Elements without markup in strings: what a model or a server says is always text.

export const find = (id) => document.getElementById(id);

// element('p', {className: 'error', hidden: true}, 'text', child, ...)
export function element(tag, properties = {}, ...children) {
  const created = Object.assign(document.createElement(tag), properties);
  created.append(...children);
  return created;
}

const integer = new Intl.NumberFormat('en');

export const count = (number) => integer.format(Math.round(number));

export const plural = (number, one, many = `${one}s`) =>
  `${count(number)} ${number === 1 ? one : many}`;

// "1.2 ms", "340 ms", "2.5 s"
export function duration(seconds) {
  if (seconds < 0.01) return `${(seconds * 1000).toFixed(1)} ms`;
  return seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(1)} s`;
}

export function showError(place, error) {
  place.hidden = !error;
  place.textContent = error ? error.message ?? String(error) : '';
}

// A colour of the style sheet, for a canvas.
export const colour = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Neighbouring ids get colours that differ.
export function requestColour(id) {
  const dark = matchMedia('(prefers-color-scheme: dark)').matches;
  const hue = (id * 137.508 + 200) % 360;
  return `hsl(${hue.toFixed(0)} 62% ${dark ? 62 : 50}%)`;
}

// Sizes a canvas in CSS pixels, sharp on every screen, and returns its context, cleared.
export function prepareCanvas(canvas, width, height) {
  const scale = window.devicePixelRatio || 1;
  const w = Math.round(width * scale);
  const h = Math.round(height * scale);
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
    canvas.style.height = `${height}px`;
  }
  const context = canvas.getContext('2d');
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}
