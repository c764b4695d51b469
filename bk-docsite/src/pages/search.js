// Looks words up in the files of the search that they are in.
"use strict";
(function () {
  const loaded = {};
  const waiting = {};
  window.docsite = function (name, value) { loaded[name] = value; };
  // A script, and no fetch: it works for files, too.
  function load(name) {
    if (!waiting[name]) {
      waiting[name] = new Promise((done) => {
        const script = document.createElement("script");
        script.src = "_site/search/" + name + ".js";
        script.onload = () => done(loaded[name] || {});
        script.onerror = () => done({});
        document.head.append(script);
      });
    }
    return waiting[name];
  }
  const code = (c) => /[A-Za-z0-9]/.test(c) ? c : "u" + c.codePointAt(0).toString(16);
  const words = (text) => (text.toLowerCase().match(/[\p{L}\p{N}]{2,}/gu) || []).slice(0, 10);

  async function search(text) {
    let places = null;
    for (const word of words(text)) {
      const shard = await load([...word].slice(0, 2).map(code).join(""));
      const found = new Map();
      for (const folder in shard) {
        for (const known in shard[folder]) {
          if (!known.startsWith(word)) continue;
          for (const [place, weight] of shard[folder][known]) {
            const key = folder + " " + place;
            // The word itself counts more than one that begins with it.
            const sum = (found.get(key) || 0) + (known === word ? weight * 2 : weight);
            found.set(key, sum);
          }
        }
      }
      if (places) {
        for (const [key, weight] of places) {
          if (found.has(key)) found.set(key, found.get(key) + weight);
        }
        for (const key of [...found.keys()]) {
          if (!places.has(key)) found.delete(key);
        }
      }
      places = found;
    }
    return [...(places || [])].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  }

  async function show(text) {
    const state = document.getElementById("state");
    const list = document.getElementById("results");
    const all = await search(text);
    const most = 50;
    list.replaceChildren();
    for (const [key] of all.slice(0, most)) {
      const [folder, place] = key.split(" ");
      const [path, title] = (await load("places-" + folder))[place];
      const item = document.createElement("li");
      const link = document.createElement("a");
      link.href = folder + "/latest/" + path;
      link.textContent = title;
      item.append(link, " - " + folder);
      list.append(item);
    }
    state.textContent = all.length === 1 ? "1 place" : all.length + " places" +
      (all.length > most ? ", the first " + most : "");
  }

  const text = new URLSearchParams(location.search).get("q") || "";
  document.getElementById("q").value = text;
  if (text) show(text);
})();
