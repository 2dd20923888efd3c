// Puts the page together.
import { getKey, request, setKey } from './api.js';
import { find, showError } from './dom.js';
import { connect, setUpEngine } from './engine.js';
import { setUpSettings } from './settings.js';
import { setUpTalk } from './talk.js';

setUpSettings();
const talk = setUpTalk();

function askForKey() {
  find('key-form').hidden = false;
  if (!getKey()) find('key').focus();
}

// Waits while the model is loading.
async function loadModel() {
  try {
    const models = await (await request('/v1/models')).json();
    const name = models.data[0].id;
    find('model').textContent = name;
    document.title = `${name} · Tessera`;
  } catch (error) {
    if (error.status === 401) {
      askForKey();
      showError(find('error'), error);
    } else {
      setTimeout(loadModel, 500);
    }
    return;
  }
  showError(find('error'), null);
  try {
    const info = await (await request('/tokenizer_info')).json();
    if (!info.chat_template) talk.completionOnly();
  } catch {
    talk.completionOnly(); // no tokenizer: texts are refused with a sentence that says so
  }
}

find('key').value = getKey();
find('key-form').addEventListener('submit', (event) => {
  event.preventDefault();
  setKey(find('key').value);
  loadModel();
  connect(askForKey);
});
setUpEngine(askForKey);
loadModel();
