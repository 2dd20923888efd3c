// Chats and completions.
import { generate } from './api.js';
import { count, duration, element, find, plural, showError } from './dom.js';
import { samplingFields, systemMessage } from './settings.js';

const log = find('log');
const outputs = find('outputs');
const error = find('error');
const forms = [find('chat-form'), find('completion-form')];
let messages = []; // of the conversation, without the system message
let running = null; // the AbortController of the answer under way

export function abort() {
  running?.abort();
}

function setRunning(controller) {
  running = controller;
  for (const form of forms) {
    form.querySelector('.send').hidden = controller !== null;
    form.querySelector('.stop').hidden = controller === null;
  }
  for (const place of [log, outputs]) place.setAttribute('aria-busy', String(controller !== null));
}

// Keeps the end in sight, unless somebody reads further up.
function follow(place, change) {
  const atEnd = place.scrollHeight - place.scrollTop - place.clientHeight < 40;
  change();
  if (atEnd) toEnd(place);
}

function toEnd(place) {
  place.scrollTop = place.scrollHeight;
}

function addMessage(role, text) {
  const body = element('div', { className: 'text' }, document.createTextNode(text));
  const message = element('article', { className: `message ${role}` },
    element('h3', {}, role === 'user' ? 'You' : 'Model'), body);
  log.append(message);
  toEnd(log);
  return { message, text: body.firstChild };
}

function summary(result) {
  const parts = [];
  if (result.first !== null) parts.push(`first token ${duration(result.first)}`);
  const tokens = result.usage?.completion_tokens ?? 0;
  if (tokens > 0) parts.push(plural(tokens, 'token'));
  if (tokens > 1) parts.push(`${count(tokens / Math.max(result.seconds, 1e-3))} tok/s`);
  const cached = result.usage?.prompt_tokens_details?.cached_tokens;
  if (cached > 0) parts.push(`${plural(cached, 'prompt token')} from the cache`);
  const ends = [...new Set(result.finish.filter(Boolean))];
  if (ends.includes('length')) parts.push('cut off at the most tokens');
  return parts.join(' · ');
}

function addFooter(message, text) {
  follow(message.parentElement, () => message.append(element('footer', { className: 'muted' }, text)));
}

// Runs one answer; `message` gets a line about how it went.
async function run(path, body, message, onText) {
  const controller = new AbortController();
  setRunning(controller);
  showError(error, null);
  try {
    const result = await generate(path, body, controller.signal, onText);
    addFooter(message, summary(result));
    return true;
  } catch (problem) {
    if (problem.name === 'AbortError') {
      addFooter(message, 'stopped');
      return true;
    }
    showError(error, problem);
    return false;
  } finally {
    setRunning(null);
  }
}

async function chat() {
  const field = find('message');
  const content = field.value.trim();
  if (running || content === '') return;
  field.value = '';
  find('empty').hidden = true;
  const question = addMessage('user', content);
  const answer = addMessage('assistant', '');
  messages.push({ role: 'user', content });
  const system = systemMessage();
  const sent = system ? [{ role: 'system', content: system }, ...messages] : messages;
  const mine = messages;
  const onText = (_, text) => follow(log, () => answer.text.appendData(text));
  const ok = await run('/v1/chat/completions', { ...samplingFields(), messages: sent },
    answer.message, onText);
  if (mine !== messages) return; // a new conversation has begun meanwhile
  if (ok || answer.text.data !== '') {
    messages.push({ role: 'assistant', content: answer.text.data });
    return;
  }
  // Nothing came of it: the message is the user's again.
  messages.pop();
  question.message.remove();
  answer.message.remove();
  find('empty').hidden = messages.length > 0;
  field.value = content;
}

async function complete() {
  const prompt = find('prompt').value;
  if (running || prompt === '') return;
  const number = Math.max(1, Number(find('answers').value) || 1);
  const texts = [];
  const list = element('div', { className: number > 1 ? 'answers' : '' });
  for (let i = 0; i < number; ++i) {
    const generated = element('span', { className: 'generated' }, document.createTextNode(''));
    texts.push(generated.firstChild);
    list.append(element('div', { className: 'text output' },
      ...(number > 1 ? [] : [element('span', { className: 'muted' }, prompt)]), generated));
  }
  const entry = element('article', { className: 'message completion' }, list);
  outputs.querySelector('.empty')?.remove();
  outputs.append(entry);
  toEnd(outputs);
  const body = { ...samplingFields(), prompt, n: number };
  const ok = await run('/v1/completions', body, entry,
    (index, text) => follow(outputs, () => texts[index].appendData(text)));
  if (!ok && texts.every((text) => text.data === '')) entry.remove();
}

function reset() {
  abort();
  messages = [];
  for (const message of document.querySelectorAll('.message')) message.remove();
  find('empty').hidden = false;
  showError(error, null);
}

// Enter sends; Shift+Enter breaks the line.
function sendOnEnter(field, send) {
  field.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  });
}

function setUpTabs() {
  const tabs = [find('tab-chat'), find('tab-completion')];
  const select = (chosen) => {
    for (const tab of tabs) {
      tab.setAttribute('aria-selected', String(tab === chosen));
      tab.tabIndex = tab === chosen ? 0 : -1;
      find(tab.getAttribute('aria-controls')).hidden = tab !== chosen;
    }
  };
  tabs.forEach((tab, i) => {
    tab.addEventListener('click', () => select(tab));
    tab.addEventListener('keydown', (event) => {
      if (event.key !== 'ArrowLeft' && event.key !== 'ArrowRight') return;
      const other = tabs[1 - i];
      if (other.disabled) return;
      select(other);
      other.focus();
    });
  });
  return select;
}

export function setUpTalk() {
  const select = setUpTabs();
  const handlers = [chat, complete];
  forms.forEach((form, i) => {
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      handlers[i]();
    });
    form.querySelector('.stop').addEventListener('click', abort);
  });
  sendOnEnter(find('message'), chat);
  find('reset').addEventListener('click', reset);
  find('prompt').value = 'Question: Ada has 12 pears and buys 30 more. How many pears does Ada have?\nAnswer:';
  for (const example of document.querySelectorAll('.example')) {
    example.addEventListener('click', () => {
      find('message').value = example.textContent;
      chat();
    });
  }
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') abort();
  });
  return {
    // A model without a chat template completes texts.
    completionOnly() {
      const tab = find('tab-chat');
      tab.disabled = true;
      tab.title = 'This model has no chat template.';
      select(find('tab-completion'));
    },
  };
}
