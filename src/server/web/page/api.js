// Requests to the server that this page came from.

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

let key = read(sessionStorage, 'key') ?? '';

// Storage may be forbidden.
export function read(storage, name) {
  try {
    return storage.getItem(`tessera.${name}`);
  } catch {
    return null;
  }
}

export function write(storage, name, value) {
  try {
    storage.setItem(`tessera.${name}`, value);
  } catch {
    // Then it is forgotten with the page.
  }
}

export const getKey = () => key;

export function setKey(value) {
  key = value.trim();
  write(sessionStorage, 'key', key);
}

// GET, or POST if there is a body. Throws the server's own sentence.
export async function request(path, { body, signal } = {}) {
  const headers = {};
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body) headers['Content-Type'] = 'application/json';
  let response;
  try {
    response = await fetch(path, {
      method: body ? 'POST' : 'GET',
      headers,
      body: body ? JSON.stringify(body) : undefined,
      signal,
      cache: 'no-store',
    });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ApiError(0, 'The server does not answer; is it still running?');
  }
  if (response.ok) return response;
  let message = `The server answered with status ${response.status}.`;
  try {
    message = (await response.json()).error.message;
  } catch {
    // The status has to do.
  }
  throw new ApiError(response.status, message);
}

// The data of an answer's server-sent events, one after another.
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = '';
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      buffer += value;
      let end;
      while ((end = buffer.indexOf('\n\n')) >= 0) {
        const event = buffer.slice(0, end);
        buffer = buffer.slice(end + 2);
        if (event.startsWith('data: ')) yield event.slice(6);
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

// Streams a completion or a chat. `onText(index, text)` hears of each piece; the result tells how
// the answers ended, and what they cost.
export async function generate(path, body, signal, onText) {
  const started = performance.now();
  const result = { first: null, finish: [], usage: null, seconds: 0 };
  const response = await request(path, {
    body: { ...body, stream: true, stream_options: { include_usage: true } },
    signal,
  });
  for await (const data of events(response)) {
    if (data === '[DONE]') break;
    const event = JSON.parse(data);
    if (event.error) throw new ApiError(0, event.error.message);
    if (event.usage) result.usage = event.usage;
    for (const choice of event.choices ?? []) {
      const text = choice.delta ? choice.delta.content : choice.text;
      if (text) {
        result.first ??= (performance.now() - started) / 1000;
        onText(choice.index, text);
      }
      if (choice.finish_reason) result.finish[choice.index] = choice.finish_reason;
    }
  }
  result.seconds = (performance.now() - started) / 1000;
  return result;
}
