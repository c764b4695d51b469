// In each published page: offers the other versions of it, and says when this is not the latest.
"use strict";
(function () {
  const script = document.currentScript;
  const { root, package: folder, version, page } = script.dataset;
  window.docsite = function (kind, data) {
    const number = data.versions.indexOf(version);
    const link = (n) => {
      const there = !(data.missing[page] || []).includes(n);
      return root + folder + "/" + data.versions[n] + "/" + (there ? page : "index.html");
    };
    const bar = document.createElement("nav");
    bar.setAttribute("aria-label", "Versions of " + data.name);
    bar.style.cssText = "all:initial;position:fixed;bottom:0;right:0;z-index:2147483647;padding:6px 10px;" +
      "background:#fff;color:#000;border:1px solid #767676;font:14px/24px sans-serif;max-width:100%";
    const element = (name, text, parent) => {
      const made = document.createElement(name);
      made.textContent = text;
      made.style.cssText = "all:revert;font:inherit;color:inherit";
      (parent || bar).append(made);
      return made;
    };
    const latest = data.versions.indexOf(data.aliases.latest);
    if (number !== latest && latest >= 0) {
      const note = element("strong", "This is not the latest version. ");
      const to = element("a", data.versions[latest], note);
      to.href = link(latest);
      to.style.color = "#0000c0";
      note.append(" is. ");
    }
    const label = element("label", data.name + " ");
    const select = element("select", "", label);
    data.versions.forEach((name, n) => {
      const also = Object.keys(data.aliases).filter((alias) => data.aliases[alias] === name);
      const option = element("option", also.length ? name + " (" + also.join(", ") + ")" : name, select);
      option.value = link(n);
      option.selected = n === number;
    });
    select.addEventListener("change", () => { location.href = select.value + location.hash; });
    bar.append(" ");
    const all = element("a", "all packages");
    all.href = root + "index.html";
    all.style.color = "#0000c0";
    document.body.append(bar);
  };
  const data = document.createElement("script");
  data.src = root + folder + "/versions.js";
  document.head.append(data);
})();
