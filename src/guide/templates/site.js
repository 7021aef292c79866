// What the pages do beyond being read. Without it they show everything, open and unfiltered.
"use strict";

for (const table of document.querySelectorAll("table.tree")) {
  const rows = [...table.tBodies[0].rows];
  const depth = rows.map((row) => Number(row.dataset.depth));
  const shut = new Set();
  const draw = () => {
    let below = Infinity;
    rows.forEach((row, index) => {
      if (depth[index] <= below) below = Infinity;
      row.hidden = below !== Infinity;
      const button = row.querySelector("button");
      if (button) button.setAttribute("aria-expanded", String(!shut.has(index)));
      if (!row.hidden && shut.has(index)) below = depth[index];
    });
  };
  rows.forEach((row, index) => {
    if (!(depth[index + 1] > depth[index])) return;
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-label", `Children of ${row.dataset.name}`);
    button.addEventListener("click", () => {
      shut.has(index) ? shut.delete(index) : shut.add(index);
      draw();
    });
    row.querySelector(".stay").replaceWith(button);
    if (table.dataset.open !== undefined && depth[index] >= Number(table.dataset.open)) shut.add(index);
  });
  draw();
}

for (const group of document.querySelectorAll(".tabs")) {
  const tabs = [...group.querySelectorAll("[role=tab]")];
  const choose = (chosen, focus) => {
    for (const tab of tabs) {
      const on = tab === chosen;
      tab.setAttribute("aria-selected", String(on));
      tab.tabIndex = on ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).hidden = !on;
    }
    if (focus) chosen.focus();
  };
  tabs.forEach((tab, index) => {
    tab.addEventListener("click", () => choose(tab));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) choose(tabs[(index + step + tabs.length) % tabs.length], true);
      else if (event.key === "Home") choose(tabs[0], true);
      else if (event.key === "End") choose(tabs[tabs.length - 1], true);
      else return;
      event.preventDefault();
    });
  });
  group.hidden = false;
  choose(tabs[0]);
}

for (const filters of document.querySelectorAll(".filters[data-for]")) {
  const rows = [...document.querySelectorAll(`#${filters.dataset.for} [data-words]`)];
  const status = filters.querySelector("[role=status]");
  const apply = () => {
    const wanted = [...filters.querySelectorAll("input, select")].map((field) => [field.name, field.value.trim().toLowerCase()]);
    let shown = 0;
    for (const row of rows) {
      row.hidden = !wanted.every(([name, value]) =>
        !value || (name === "words" ? value.split(/\s+/).every((word) => row.dataset.words.includes(word)) : ` ${row.dataset[name]} `.includes(` ${value} `)));
      if (!row.hidden) shown += 1;
    }
    status.textContent = `${shown} of ${rows.length}`;
  };
  filters.addEventListener("input", apply);
  filters.addEventListener("submit", (event) => event.preventDefault());
  filters.hidden = false;
  apply();
}

const found = document.getElementById("found");
if (found && window.searchIndex) {
  const input = document.getElementById("query");
  const status = document.getElementById("found-status");
  const look = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const hits = !words.length ? [] : window.searchIndex
      .map((entry) => {
        const title = entry.title.toLowerCase();
        const text = `${title} ${entry.kind} ${entry.text}`.toLowerCase();
        if (!words.every((word) => text.includes(word))) return null;
        return [words.reduce((sum, word) => sum + (title === word ? 4 : title.includes(word) ? 2 : 0), 0), entry];
      })
      .filter(Boolean)
      .sort((a, b) => b[0] - a[0])
      .slice(0, 60);
    found.replaceChildren(...hits.map(([, entry]) => {
      const item = document.createElement("li");
      const heading = document.createElement("h2");
      const link = document.createElement("a");
      link.href = entry.url;
      link.textContent = entry.title;
      const text = document.createElement("p");
      text.textContent = `${entry.kind}. ${entry.text}`;
      heading.append(link);
      item.append(heading, text);
      return item;
    }));
    status.textContent = words.length ? `${hits.length} found` : "";
  };
  input.value = new URLSearchParams(location.search).get("q") || "";
  input.addEventListener("input", look);
  input.form.addEventListener("submit", (event) => { event.preventDefault(); look(); });
  look();
}
