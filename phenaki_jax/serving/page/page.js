'use strict';
const $ = (id) => document.getElementById(id);
// One scene of the page: its prompt, its own values of the story file, the
// images that have arrived, and how many frames it will have.
let scenes = [];
let shown = [];       // the scenes in the order in which our film has them
let next = 1;
let job = null;       // what the server last said of our film
let rest = {};        // values of an opened story file that the page lacks
let model = null;
let stream = null;
let token = sessionStorage.getItem('token') || '';
let playing = true, at = 0, active = -1, checking = 0;

async function ask(path, options = {}) {
  const headers = {...(options.headers || {})};
  if (token) headers.authorization = `Bearer ${token}`;
  let response;
  try {
    response = await fetch(path, {...options, headers});
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Error('the server does not answer; is it running?');
  }
  if (response.status === 401) $('login').hidden = false;
  if (!response.ok) {
    let message = `the server answered ${response.status}`;
    try { message = (await response.json()).error.message; } catch (_) { /* no JSON */ }
    throw new Error(message);
  }
  return response;
}
const send = (path, method, body) => ask(path, {
  method, headers: {'content-type': 'application/json'}, body: JSON.stringify(body),
}).then((response) => response.json());

// The check of words takes back only its own errors.
let ofCheck = false;
function fail(error, isOfCheck = false) {
  if (!error && isOfCheck && !ofCheck) return;
  ofCheck = isOfCheck;
  $('error').textContent = error ? error.message : '';
}

function story() {
  const result = {...rest, scenes: scenes.map((scene) => {
    const values = {...scene.values, prompt: scene.prompt};
    for (const name of ['steps', 'guidance', 'temperature']) {
      const given = $(name).value;
      if (given !== '' && !(name in values)) values[name] = Number(given);
    }
    return values;
  })};
  result.seed = Number($('seed').value || 0);
  return result;
}

function add(prompt = '', values = {}, where = scenes.length) {
  scenes.splice(where, 0, {id: next++, prompt, values, images: [], frames: 0, remark: null});
  render();
  return scenes[where];
}

function render() {
  $('empty').hidden = scenes.length > 0;
  $('make').disabled = !scenes.length;
  $('share').disabled = !scenes.length;
  const list = $('scenes');
  const kept = new Map([...list.children].map((card) => [card.dataset.id, card]));
  scenes.forEach((scene, i) => {
    let card = kept.get(String(scene.id));
    kept.delete(String(scene.id));
    if (!card) card = makeCard(scene);
    if (list.children[i] !== card) list.insertBefore(card, list.children[i] || null);
    const title = `Scene ${i + 1}`;
    card.querySelector('h2').textContent = title;
    card.querySelector('textarea').setAttribute('aria-label', `${title}: what happens`);
    for (const button of card.querySelectorAll('button[data-do]')) {
      button.setAttribute('aria-label', `${button.textContent}: ${title}`);
    }
    card.querySelector('[data-do=up]').disabled = i === 0;
    card.querySelector('[data-do=down]').disabled = i === scenes.length - 1;
    card.querySelector('[data-do=roll]').disabled = !job || i >= job.scenes.length;
    card.classList.toggle('active', i === active);
    const count = scene.images.filter(Boolean).length;
    card.querySelector('.state').textContent =
      scene.frames ? `${count} of ${scene.frames} frames` : 'not made yet';
    showRemark(card, scene);
  });
  for (const card of kept.values()) card.remove();
  renderTimeline();
}

function makeCard(scene) {
  const card = document.createElement('li');
  card.className = 'scene';
  card.dataset.id = scene.id;
  card.innerHTML = `<div class="head"><h2></h2><span class="state"></span></div>
    <textarea maxlength="1000" spellcheck="false"></textarea>
    <p class="remark" role="status" hidden></p>
    <div class="strip"></div>
    <div class="row">
      <button type="button" data-do="up">Move up</button>
      <button type="button" data-do="down">Move down</button>
      <button type="button" data-do="roll">Roll again</button>
      <button type="button" data-do="remove">Remove</button>
    </div>`;
  const text = card.querySelector('textarea');
  text.value = scene.prompt;
  text.addEventListener('input', () => { scene.prompt = text.value; check(); });
  text.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) make();
  });
  card.addEventListener('click', (event) => {
    const what = event.target.dataset && event.target.dataset.do;
    if (!what) return;
    const i = scenes.indexOf(scene);
    if (what === 'remove') {
      scenes.splice(i, 1);
      render();
      const near = $('scenes').children[Math.min(i, scenes.length - 1)];
      (near ? near.querySelector('textarea') : $('add')).focus();
    } else if (what === 'roll') {
      roll(i);
    } else {
      const to = what === 'up' ? i - 1 : i + 1;
      scenes.splice(i, 1);
      scenes.splice(to, 0, scene);
      render();
      const button = card.querySelector(`[data-do=${what}]`);
      (button.disabled ? text : button).focus();
    }
    if (what !== 'roll') check();
  });
  return card;
}

function showRemark(card, scene) {
  const place = card.querySelector('.remark');
  const key = JSON.stringify(scene.remark);
  if (place.dataset.key === key) return;
  place.dataset.key = key;
  place.hidden = !scene.remark;
  place.textContent = '';
  if (!scene.remark) return;
  const unknown = Object.entries(scene.remark.unknown || {});
  if (!unknown.length) { place.textContent = scene.remark.sentence; return; }
  for (const [word, near] of unknown) {
    const line = document.createElement('div');
    line.append(`The model never saw “${word}”.`);
    if (near.length) line.append(' It knows:');
    for (const other of near) {
      const button = document.createElement('button');
      button.type = 'button';
      button.textContent = other;
      button.setAttribute('aria-label', `replace ${word} by ${other}`);
      button.addEventListener('click', () => {
        const text = card.querySelector('textarea');
        const found = text.value.toLowerCase().indexOf(word);
        if (found < 0) return;
        text.value = text.value.slice(0, found) + other + text.value.slice(found + word.length);
        scene.prompt = text.value;
        text.focus();
        check();
      });
      line.append(button);
    }
    place.append(line);
  }
}

// Words are checked while they are typed, after a short pause.
function check() {
  clearTimeout(checking);
  checking = setTimeout(async () => {
    if (!scenes.length || scenes.some((scene) => !scene.prompt.trim())) return;
    const asked = scenes.slice();
    try {
      const found = await send('/v1/check', 'POST', story());
      for (const scene of asked) scene.remark = null;
      for (const remark of found.remarks) {
        if (remark.scene) asked[remark.scene - 1].remark = remark;
      }
      fail(null, true);
      render();
    } catch (error) { fail(error, true); }
  }, 250);
}

async function make() {
  fail(null);
  const blank = scenes.findIndex((scene) => !scene.prompt.trim());
  if (blank >= 0) {
    fail(new Error(`Scene ${blank + 1} is empty; describe what happens, or remove it.`));
    $('scenes').children[blank].querySelector('textarea').focus();
    return;
  }
  const sent = scenes.slice();
  try {
    const changed = job
      ? await send(`/v1/stories/${job.id}`, 'PUT', story())
      : await send('/v1/stories', 'POST', story());
    follow(changed, sent);
  } catch (error) { fail(error); }
}

async function roll(i) {
  fail(null);
  const sent = scenes.slice();
  try {
    // What was typed since is part of the film, too.
    const saved = await send(`/v1/stories/${job.id}`, 'PUT', story());
    const rolled = await send(`/v1/stories/${saved.id}/scenes/${i + 1}/reroll`, 'POST', {});
    sent[i].values = {...rolled.story.scenes[i]};
    delete sent[i].values.prompt;
    for (let n = i; n < sent.length; n++) sent[n].images = [];
    follow(rolled, sent);
  } catch (error) { fail(error); }
}

function take(told) {
  job = told;
  told.scenes.forEach((scene, i) => {
    if (shown[i]) shown[i].frames = scene.frames;
  });
  for (const remark of told.remarks) {
    if (remark.scene && shown[remark.scene - 1]) shown[remark.scene - 1].remark = remark;
  }
  const busy = !told.is_final;
  $('cancel').hidden = !busy;
  $('downloads').hidden = told.status !== 'done';
  $('make').textContent = 'Make the film again';
  const words = {
    queued: 'waiting', running: 'making the film', done: 'the film is done',
    failed: 'it failed', cancelled: 'stopped',
  };
  $('status').textContent = words[told.status];
  if (told.error) fail(new Error(told.error));
  history.replaceState(null, '', `#${told.id}`);
  render();
}

// EventSource cannot send a token, so the stream is read by fetch.
// Cards may be moved and removed while frames arrive, which name their scene
// by its place among those that were sent.
async function follow(told, sent) {
  if (stream) stream.abort();
  const mine = stream = new AbortController();
  shown = sent;
  take(told);
  playing = true;
  let last = '', tries = 0;
  while (!mine.signal.aborted) {
    try {
      const headers = last ? {'last-event-id': last} : {};
      const response = await ask(`/v1/stories/${told.id}/events`, {headers, signal: mine.signal});
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = '';
      for (;;) {
        const {value, done} = await reader.read();
        if (done) break;
        tries = 0;
        text += value;
        const parts = text.split('\n\n');
        text = parts.pop();
        for (const part of parts) {
          const event = {};
          for (const line of part.split('\n')) {
            const colon = line.indexOf(': ');
            if (colon > 0) event[line.slice(0, colon)] = line.slice(colon + 2);
          }
          if (event.id) last = event.id;
          if (event.event && onEvent(event.event, JSON.parse(event.data))) return;
        }
      }
    } catch (error) {
      if (mine.signal.aborted) return;
      if (++tries > 20) { fail(error); return; }
      $('status').textContent = 'the server is away; trying again';
    }
    await new Promise((go) => setTimeout(go, 500));
  }
}

function onEvent(name, data) {
  if (name === 'error') { fail(new Error(data.message)); return true; }
  if (name === 'story' || name === 'end') { take(data); return name === 'end'; }
  const scene = shown[data.scene];
  if (name !== 'frame' || !scenes.includes(scene)) return false;
  const image = new Image();
  image.alt = `frame ${data.frame + 1}`;
  image.src = `data:image/png;base64,${data.png}`;
  if (data.frame === 0) scene.images = [];
  scene.images[data.frame] = image;
  const strip = $('scenes').children[scenes.indexOf(scene)].querySelector('.strip');
  if (data.frame === 0) strip.textContent = '';
  strip.append(image);
  if (data.frame + 1 === scene.frames || data.frame % 4 === 0) render();
  $('play').disabled = false;
  document.querySelector('main').classList.add('has-film');
  return false;
}

function film() {
  const frames = [];
  scenes.forEach((scene, i) => scene.images.forEach((image) => frames.push([i, image])));
  return frames;
}

function show() {
  const frames = film();
  if (!frames.length) return;
  if (at >= frames.length) at = 0;
  const [scene, image] = frames[at];
  if (image.complete && image.naturalWidth) {
    const canvas = $('screen');
    canvas.width = image.naturalWidth;
    canvas.height = image.naturalHeight;
    canvas.getContext('2d').drawImage(image, 0, 0);
    canvas.setAttribute('aria-label', `scene ${scene + 1}: ${scenes[scene].prompt}`);
  }
  if (scene !== active) {
    active = scene;
    render();
  }
}

function renderTimeline() {
  const line = $('timeline');
  while (line.children.length > scenes.length) line.lastChild.remove();
  scenes.forEach((scene, i) => {
    let part = line.children[i];
    if (!part) {
      part = document.createElement('button');
      part.type = 'button';
      part.addEventListener('click', () => {
        at = scenes.slice(0, i).reduce((sum, one) => sum + one.images.length, 0);
        show();
      });
      line.append(part);
    }
    const count = scene.images.filter(Boolean).length;
    part.textContent = i + 1;
    part.style.flexGrow = scene.frames || 9;
    part.style.setProperty('--done', `${scene.frames ? 100 * count / scene.frames : 0}%`);
    part.setAttribute('aria-label', `go to scene ${i + 1}`);
    part.setAttribute('aria-current', String(i === active));
  });
}

function tick() {
  if (playing) { at++; show(); }
  setTimeout(tick, 1000 / ((job && job.fps) || 8));
}

function save(blob, name) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function open(values, isOurs) {
  if (stream) stream.abort();
  const {scenes: given, seed, ...others} = values;
  rest = others;
  scenes = [];
  if (!isOurs) job = null;
  $('scenes').textContent = '';
  $('seed').value = seed || 0;
  for (const {prompt, ...own} of given) add(prompt, own);
  check();
}

$('add').addEventListener('click', () => {
  add();
  $('scenes').lastElementChild.querySelector('textarea').focus();
});
$('example').addEventListener('click', () => {
  $('seed').value = model.example.seed;
  for (const {prompt} of model.example.scenes) add(prompt);
  $('scenes').firstElementChild.querySelector('textarea').focus();
  check();
});
$('make').addEventListener('click', make);
$('cancel').addEventListener('click', async () => {
  try { take(await send(`/v1/stories/${job.id}/cancel`, 'POST', {})); } catch (error) { fail(error); }
});
$('play').addEventListener('click', () => {
  playing = !playing;
  $('play').textContent = playing ? 'Pause' : 'Play';
});
$('share').addEventListener('click', () => {
  save(new Blob([JSON.stringify(story(), null, 2)], {type: 'application/json'}), 'story.json');
});
$('open').addEventListener('click', () => $('file').click());
$('file').addEventListener('change', async () => {
  const [file] = $('file').files;
  $('file').value = '';
  if (!file) return;
  try {
    const kind = file.name.endsWith('.json') ? 'application/json' : 'application/yaml';
    const read = await ask('/v1/read', {
      method: 'POST', headers: {'content-type': kind}, body: await file.text(),
    });
    open(await read.json(), false);
    fail(null);
  } catch (error) { fail(error); }
});
for (const button of document.querySelectorAll('[data-file]')) {
  button.addEventListener('click', async () => {
    try {
      const response = await ask(job.files[button.dataset.file]);
      save(await response.blob(), `story.${button.dataset.file}`);
    } catch (error) { fail(error); }
  });
}
$('login').addEventListener('submit', (event) => {
  event.preventDefault();
  token = $('token').value.trim();
  sessionStorage.setItem('token', token);
  $('login').hidden = true;
  start();
});

async function start() {
  fail(null);
  try {
    model = await (await ask('/v1/model')).json();
    $('model').textContent = `${model.name}, ${model.size[1]}×${model.size[0]} pixels, ${model.fps} frames a second`;
    for (const [name, value] of Object.entries(model.settings)) $(name).placeholder = value;
    const words = model.words.filter((word) => word.length > 2).slice(0, 40);
    if (words.length) $('words').textContent = `Words that this model knows: ${words.join(', ')}.`;
    $('example').hidden = !model.example;
    const id = location.hash.slice(1);
    if (/^[0-9a-f]{32}$/.test(id)) {
      const told = await (await ask(`/v1/stories/${id}`)).json();
      open(told.story, true);
      follow(told, scenes.slice());
    }
  } catch (error) { fail(error); }
  render();
}
start();
tick();
