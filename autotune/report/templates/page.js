"use strict";
(function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  const tip = document.getElementById("tip");
  const dialog = document.getElementById("detail");
  const body = document.getElementById("detail-body");

  // Every text goes in as text: logs and names come from elsewhere.
  function add(parent, name, text, css) {
    const element = document.createElement(name);
    if (text !== undefined) element.textContent = text;
    if (css) element.className = css;
    parent.appendChild(element);
    return element;
  }
  function pairs(title, rows) {
    if (!rows.length) return;
    add(body, "h3", title);
    const grid = add(body, "div", undefined, "pairs");
    for (const [name, value, changed] of rows) {
      const row = add(grid, "div", undefined, changed ? "changed" : "");
      add(row, "span", name);
      add(row, "span", value);
    }
  }
  function lines(title, text) {
    if (!text) return;
    add(body, "h3", title);
    add(body, "pre", text);
  }
  function open(number) {
    const trial = data.trials[number];
    if (!trial) return;
    hide();
    document.getElementById("detail-title").textContent = "Trial " + number + ": " + trial.head;
    body.replaceChildren();
    if (trial.failure) {
      add(body, "p", trial.failure + (trial.margin ? " (" + trial.margin + ")" : ""), "bad");
    }
    pairs("Settings", trial.settings.length ? trial.settings : [["all settings", "engine's default", 0]]);
    const figures = data.metrics.map((name, i) => [name, trial.figures[i], 0]).filter((row) => row[1]);
    pairs("Figures", figures);
    lines("Evidence", (trial.evidence || []).join("\n"));
    lines("Notes", (trial.notes || []).join("\n"));
    lines("End of the engine's log", trial.log);
    add(body, "p", "Took " + trial.time + (trial.start ? ", began " + trial.start : ""), "note");
    dialog.showModal();
    dialog.scrollTop = 0;
  }
  function hide() { tip.hidden = true; }
  function show(target, x, y) {
    tip.textContent = target.dataset.hint;
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = Math.max(6, Math.min(x + 14, innerWidth - box.width - 6)) + "px";
    tip.style.top = (y + box.height + 26 > innerHeight ? y - box.height - 12 : y + 18) + "px";
  }

  document.addEventListener("pointermove", function (event) {
    const target = event.target.closest && event.target.closest("[data-hint]");
    if (target) show(target, event.clientX, event.clientY); else hide();
  });
  document.addEventListener("focusin", function (event) {
    const target = event.target.closest("[data-hint]");
    if (target) {
      const box = target.getBoundingClientRect();
      show(target, box.right, box.top);
    }
  });
  document.addEventListener("click", function (event) {
    if (event.target === dialog) { dialog.close(); return; }
    const target = event.target.closest("[data-trial]");
    if (target) open(target.dataset.trial);
  });
  document.addEventListener("keydown", function (event) {
    if (event.key !== "Enter" && event.key !== " ") return;
    const target = event.target.closest("[data-trial]");
    if (target) { event.preventDefault(); open(target.dataset.trial); }
  });

  const table = document.getElementById("trial-table");
  const rows = Array.from(table.tBodies[0].rows);
  const filter = document.querySelector(".filter");
  filter.hidden = false;
  for (const row of rows) row.tabIndex = 0;
  filter.addEventListener("click", function (event) {
    const button = event.target.closest("button");
    if (!button) return;
    for (const other of filter.children) other.setAttribute("aria-pressed", String(other === button));
    for (const row of rows) row.hidden = button.dataset.filter !== "" && row.dataset.status !== button.dataset.filter;
  });
  let sorted = -1, down = false;
  table.tHead.addEventListener("click", function (event) {
    const head = event.target.closest("th");
    if (!head) return;
    const column = head.cellIndex;
    down = sorted === column ? !down : false;
    sorted = column;
    const key = (row) => row.cells[column].dataset.sort ?? row.cells[column].textContent;
    const numeric = rows.every((row) => row.cells[column].dataset.sort !== undefined);
    const last = (a, b) => (a === "") - (b === "");
    rows.sort(function (a, b) {
      const x = key(a), y = key(b);
      if (x === "" || y === "") return last(x, y);
      const order = numeric ? Number(x) - Number(y) : x.localeCompare(y);
      return down ? -order : order;
    });
    table.tBodies[0].append(...rows);
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
  });
})();
