// What Gradio's pages cannot do by themselves. Written into the head of both pages, so that it
// runs before the first paint; it changes nothing but this page and two keys of localStorage.
(() => {
  'use strict';
  const root = document.documentElement;

  // localStorage throws in a cross-site frame with blocked cookies: then nothing is remembered.
  const recall = (key) => { try { return localStorage.getItem(key); } catch { return null; } };
  const remember = (key, value) => { try { localStorage.setItem(key, value); } catch { /* see above */ } };
  const asked = new URL(location.href).searchParams;
  const seen = (element) => element.offsetParent !== null;
  const every = (selector, act) => document.querySelectorAll(selector).forEach(act);

  // ---- language: ?lang=, then the last choice, then the browser's
  const browser = (navigator.language || 'en').toLowerCase().startsWith('zh') ? 'zh' : 'en';
  const named = (value) => (value ? (value.toLowerCase().startsWith('zh') ? 'zh' : 'en') : null);
  let language = named(asked.get('lang')) || named(recall('quartet.lang')) || browser;
  const locale = () => (language === 'zh' ? 'zh-CN' : 'en');
  // Gradio starts in the browser's language: tell it ours, or labels would change under the eye.
  try {
    Object.defineProperty(navigator, 'language', { get: locale, configurable: true });
    Object.defineProperty(navigator, 'languages', { get: () => [locale()], configurable: true });
  } catch { /* then the labels follow a moment later */ }

  const markLanguage = () => { root.dataset.lang = language; root.lang = locale(); };
  markLanguage();

  // Not a public interface of Gradio's: a test fails when it goes.
  const core = () => performance.getEntriesByType('resource').map((entry) => entry.name)
    .find((name) => /\/assets\/core-[\w-]+\.js$/.test(name));
  const nameTabs = () => {
    const names = document.querySelector('[data-tabs]');
    if (!names) return;
    const pairs = Object.values(JSON.parse(names.dataset.tabs));
    every('.tab-wrapper button', (button) => {   // Gradio renames only the open tab
      const text = [...button.childNodes].find((node) => node.nodeType === 3 && node.nodeValue.trim());
      const pair = text && pairs.find((known) => known.includes(text.nodeValue.trim()));
      const name = pair && pair[language === 'zh' ? 1 : 0];
      if (pair && text.nodeValue.trim() !== name) text.nodeValue = name;
    });
  };
  const setLanguage = async (value) => {
    language = value;
    remember('quartet.lang', value);
    markLanguage();
    const source = core();
    if (source) (await import(source)).changeLocale(locale());
    nameTabs();
  };

  // ---- theme: ?__theme=, then the last choice, then the system's
  const system = matchMedia('(prefers-color-scheme: dark)');
  const themes = (value) => (value === 'dark' || value === 'light' ? value : null);
  let theme = themes(asked.get('__theme')) || themes(recall('quartet.theme'));
  const dark = () => (theme ? theme === 'dark' : system.matches);
  const markTheme = () => {
    root.classList.toggle('q-dark', dark());
    root.style.colorScheme = dark() ? 'dark' : 'light';
    if (document.body && document.body.classList.contains('dark') !== dark()) {
      document.body.classList.toggle('dark', dark());
    }
    every('[data-q=theme]', (button) => button.setAttribute('aria-pressed', String(dark())));
  };
  markTheme();
  system.addEventListener('change', () => setTimeout(markTheme));
  document.addEventListener('DOMContentLoaded', () => {
    markTheme();
    // Gradio sets the system's theme when it starts: put ours back before it is painted.
    new MutationObserver(markTheme).observe(document.body, { attributeFilter: ['class'] });
    whenThere('#q-switches .q-btn', markTheme);
    whenThere('[role=tab]', () => {
      openAskedTab();
      nameTabs();
      const list = document.querySelector('[role=tablist]').parentElement;
      // Gradio writes the names anew whenever it likes
      new MutationObserver(nameTabs).observe(list, { childList: true, characterData: true, subtree: true });
    });
  });
  const whenThere = (selector, act) => {
    if (document.querySelector(selector)) { act(); return; }
    const watch = new MutationObserver(() => {
      if (document.querySelector(selector)) { watch.disconnect(); act(); }
    });
    watch.observe(document.body, { childList: true, subtree: true });
  };

  // ---- tabs: ?tab= opens one, and the address follows the open one
  const openAskedTab = () => {
    const wanted = asked.get('tab');
    const button = wanted && document.getElementById(`tab-${wanted}-button`);
    if (button && button.getAttribute('aria-selected') !== 'true') button.click();
  };
  const followTab = (tab) => {
    const name = /^tab-(.+)-button$/.exec(tab.id || '');
    if (!name) return;
    const url = new URL(location.href);
    url.searchParams.set('tab', name[1]);
    history.replaceState(history.state, '', url);
  };

  // ---- "Call this from code" follows the inputs while it is open, and not while a run begins:
  // Gradio wipes the messages on the fields whenever an event reads them.
  let typing = 0;
  let typedAt = 0;
  const recode = () => {
    typing = 0;
    const again = [...document.querySelectorAll('.q-code-fold button.label-wrap.open')].find(seen);
    if (again) again.closest('[role=tabpanel]').querySelector('.q-code-again').click();
  };
  const typed = () => {
    typedAt = Date.now();
    clearTimeout(typing);
    typing = setTimeout(recode, 400);
  };
  document.addEventListener('input', typed);
  document.addEventListener('click', (event) => {
    if (event.target.closest('.q-go')) clearTimeout(typing);
    if (event.target.closest('.q-chip')) typed();
  });

  // ---- clicks on our own buttons
  const copy = async (button) => {
    if (Date.now() - typedAt < 900) await new Promise((done) => setTimeout(done, 900));
    const box = button.closest('.q-code');
    const code = box.querySelector('code');
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch {                                             // plain http: no clipboard interface
      getSelection().selectAllChildren(code);
      document.execCommand('copy');
      getSelection().removeAllRanges();
    }
    box.classList.add('copied');
    setTimeout(() => box.classList.remove('copied'), 1600);
  };
  document.addEventListener('click', (event) => {
    const tab = event.target.closest('[role=tab]');
    if (tab) followTab(tab);
    const leaves = event.target.closest('.q-pages a');       // Admin shows in no other site's frame
    if (leaves && window.top !== window) leaves.target = '_blank';
    const button = event.target.closest('[data-q]');
    if (!button) return;
    if (button.dataset.q === 'lang') setLanguage(language === 'zh' ? 'en' : 'zh');
    if (button.dataset.q === 'theme') {
      theme = dark() ? 'light' : 'dark';
      remember('quartet.theme', theme);
      markTheme();
    }
    if (button.dataset.q === 'copy') copy(button);
  });
  // A page whose data is stale must not write: `q-write` buttons do nothing then.
  document.addEventListener('click', (event) => {
    if (document.body.classList.contains('q-silent') && event.target.closest('.q-write')) {
      event.preventDefault();
      event.stopImmediatePropagation();
    }
  }, true);

  // ---- Admin's tables: a row's button presses the hidden one of its pane, with its value
  const rowOf = (ask, value) => [...document.querySelectorAll('[data-ask]')]
    .find((button) => button.dataset.ask === ask && button.dataset.value === value);
  let row = null;
  document.addEventListener('click', (event) => {
    const button = event.target.closest('[data-ask]');
    if (!button || button.disabled) return;
    row = [button.dataset.ask, button.dataset.value];
    window.quartetAsked = button.dataset.value;
    press(button.dataset.ask);
  });
  window.quartetBack = () => { const button = row && rowOf(...row); if (button) button.focus(); };

  // ---- keys
  const step = (key, at, count) => ({
    ArrowRight: (at + 1) % count, ArrowDown: (at + 1) % count,
    ArrowLeft: (at + count - 1) % count, ArrowUp: (at + count - 1) % count,
    Home: 0, End: count - 1,
  })[key];
  const moveAmong = (event, all, act) => {
    const to = step(event.key, all.indexOf(event.target), all.length);
    if (to === undefined || all.length < 2) return;
    event.preventDefault();
    all[to].focus();
    act(all[to]);
  };
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
      const go = [...document.querySelectorAll('button.q-go')].find(seen);
      if (go) { event.preventDefault(); event.stopPropagation(); go.click(); }
      return;
    }
    if (event.target.matches('[role=tab]')) {
      const list = event.target.closest('[role=tablist]');
      moveAmong(event, [...list.querySelectorAll('[role=tab]')].filter(seen), (tab) => tab.click());
    } else if (event.target.matches('fieldset input[type=radio]')) {
      const group = event.target.closest('fieldset');   // Gradio gives each radio its own name
      moveAmong(event, [...group.querySelectorAll('input[type=radio]')], (radio) => radio.click());
    }
  }, true);

  // ---- on a phone the result lies below the button that makes it: bring it up once it is there
  document.addEventListener('click', (event) => {
    const go = event.target.closest('.q-go, .q-chip');
    const result = go && go.closest('[role=tabpanel]').querySelector('.q-result');
    if (!result) return;
    const watch = new MutationObserver(() => {
      watch.disconnect();
      if (result.getBoundingClientRect().top > innerHeight * 0.6) {
        const still = matchMedia('(prefers-reduced-motion: reduce)').matches;
        result.scrollIntoView({ behavior: still ? 'auto' : 'smooth', block: 'start' });
      }
    });
    watch.observe(result, { childList: true, subtree: true });
    setTimeout(() => watch.disconnect(), 30_000);
  });

  // ---- before and after: the slider moves the edge between the two pictures
  document.addEventListener('input', (event) => {
    const pair = event.target.closest('.q-pair');
    if (pair) pair.style.setProperty('--at', `${event.target.value}%`);
  });

  // ---- readiness: asked again when the page comes back into view, and while it is not ready
  let askedAt = Date.now();
  const press = (id) => { const button = document.getElementById(id); if (button) button.click(); };
  setInterval(() => {
    if (document.hidden) return;
    const pill = document.querySelector('#q-ready .q-pill');
    const loads = document.querySelector('[data-loads]');
    const patience = pill && pill.dataset.state === 'ready' && !loads ? 60_000 : 3_000;
    if (Date.now() - askedAt > patience) { askedAt = Date.now(); press('q-again'); }
  }, 1000);
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) { press('q-away'); return; }
    press('q-back');
    askedAt = Date.now();
    press('q-again');
  });

  // ---- the age of what Admin shows, counted here: a dead server must show too
  const arrived = new WeakMap();
  setInterval(() => {
    let silent = false;
    every('[data-stamp]', (stamp) => {
      const known = arrived.get(stamp);
      if (!known || known.stamp !== stamp.dataset.stamp) {
        arrived.set(stamp, { stamp: stamp.dataset.stamp, at: performance.now() });
      }
      const age = Math.round((performance.now() - arrived.get(stamp).at) / 1000);
      stamp.querySelectorAll('[data-age]').forEach((place) => { place.textContent = age; });
      const old = age > Number(stamp.dataset.patience || 15);
      stamp.classList.toggle('stale', old);
      silent = silent || old;
    });
    document.body.classList.toggle('q-silent', silent);
    if (silent) signedOut();
  }, 1000);
  // Silent to this page, yet it answers: the sign-in has ended, and its page is a reload away.
  let lookedAt = 0;
  const signedOut = async () => {
    if (Date.now() - lookedAt < 5000) return;
    lookedAt = Date.now();
    try {
      const answer = await fetch(location.href, { method: 'HEAD', cache: 'no-store' });
      if (answer.status === 401) location.reload();
    } catch { /* really silent */ }
  };
})();
