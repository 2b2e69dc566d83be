"use strict";
// Trajectory text is hostile: it enters the page by textContent alone.
(() => {
  const $ = (id) => document.getElementById(id);
  const rows = JSON.parse($("index").textContent);
  const state = { visible: [], current: -1, turns: [], turn: 0 };
  const decoded = new Map();

  function element(tag, text, kind) {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    if (kind) node.className = kind;
    return node;
  }

  function chunk(number) {
    if (!decoded.has(number)) {
      const bytes = Uint8Array.from(atob($("chunk-" + number).textContent.trim()), (c) => c.charCodeAt(0));
      const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
      decoded.set(number, new Response(stream).json());
    }
    return decoded.get(number);
  }

  const messages = async (row) => (await chunk(row.chunk))[row.place];

  function options(id, key) {
    for (const value of [...new Set(rows.map((row) => row[key]))].sort()) {
      const option = element("option", value);
      option.value = value;
      $(id).append(option);
    }
  }

  let filtering = 0;
  async function filter() {
    const mine = ++filtering;
    const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = rows.filter((row) => ["source", "outcome", "unit"].every((key) => !$(key).value || row[key] === $(key).value));
    const found = [];
    for (const row of chosen) {
      let text = [row.task, row.unit, row.suite, row.source, row.outcome, row.reason, row.exit, row.model].join(" ").toLowerCase();
      if (words.length && $("inside").checked) text += " " + (await messages(row)).map((m) => m.content).join(" ").toLowerCase();
      if (mine !== filtering) return;
      if (words.every((word) => text.includes(word))) found.push(row);
    }
    state.visible = found;
    state.current = -1;
    $("shown").textContent = found.length + " of " + rows.length;
    $("list").replaceChildren(...found.map((row, place) => {
      const item = element("li");
      const button = element("button", row.source + " · " + row.task + " #" + row.attempt);
      button.type = "button";
      const note = element("small");
      note.append(element("span", row.outcome, row.outcome), " · " + row.steps + " turns" + (row.reason ? " · " + row.reason : ""));
      button.append(note);
      button.addEventListener("click", () => open(place));
      item.append(button);
      return item;
    }));
    if (found.length) await open(0, false);
    else { $("facts").replaceChildren(element("p", "Nothing matches.", "muted")); $("controls").hidden = true; $("turns").replaceChildren(); }
  }

  async function open(place, scroll = true) {
    if (place < 0 || place >= state.visible.length) return;
    state.current = place;
    const row = state.visible[place];
    const buttons = $("list").querySelectorAll("button");
    buttons.forEach((button, i) => button.setAttribute("aria-current", String(i === place)));
    if (scroll) buttons[place].scrollIntoView({ block: "nearest" });
    const facts = [["who", row.source + (row.scripted ? " (script, no model)" : "")], ["model", row.model], ["suite", row.suite], ["unit", row.unit], ["outcome", row.outcome], ["reason", row.reason], ["detail", row.detail], ["ended", row.exit], ["turns", row.steps], ["tokens", row.tokens], ["repeats itself", row.looping ? "yes" : ""], ["looked outside", row.suspicious ? "yes" : ""]];
    const title = element("h3", row.task + ", attempt " + row.attempt);
    const line = element("p");
    for (const [name, value] of facts) if (value) { const chip = element("span", name + " ", "chip"); chip.append(element("b", String(value).slice(0, 300))); line.append(chip); }
    $("facts").replaceChildren(title, line);
    const all = await messages(row);
    if (state.visible[state.current] !== row) return;
    // A turn is what the model said with what came back; what was asked is turn 0.
    const turns = [[]];
    for (const message of all) { if (message.role === "assistant") turns.push([]); turns[turns.length - 1].push(message); }
    state.turns = turns;
    $("controls").hidden = false;
    $("slider").max = String(turns.length - 1);
    step(0);
  }

  function step(number) {
    state.turn = Math.max(0, Math.min(number, state.turns.length - 1));
    $("slider").value = String(state.turn);
    $("position").textContent = state.turn === 0 ? "task" : "turn " + state.turn + " of " + (state.turns.length - 1);
    const shown = $("whole").checked ? state.turns.flat() : state.turns[state.turn];
    $("turns").replaceChildren(...shown.map((message) => {
      const box = element("div", undefined, "message " + (["assistant", "system"].includes(message.role) ? message.role : "user"));
      box.append(element("h4", message.role), element("pre", message.content));
      return box;
    }));
  }

  for (const [id, key] of [["source", "source"], ["outcome", "outcome"], ["unit", "unit"]]) options(id, key);
  for (const id of ["source", "outcome", "unit", "inside"]) $(id).addEventListener("change", filter);
  let wait = 0;
  $("search").addEventListener("input", () => { clearTimeout(wait); wait = setTimeout(filter, 150); });
  $("filters").addEventListener("submit", (event) => { event.preventDefault(); filter(); });
  $("first").addEventListener("click", () => step(0));
  $("back").addEventListener("click", () => step(state.turn - 1));
  $("forth").addEventListener("click", () => step(state.turn + 1));
  $("last").addEventListener("click", () => step(state.turns.length - 1));
  $("slider").addEventListener("input", () => step(Number($("slider").value)));
  $("whole").addEventListener("change", () => step(state.turn));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target instanceof HTMLElement && event.target.closest("input, select, textarea");
    if (typing) { if (event.key === "Escape") event.target.blur(); return; }
    const actions = { j: () => open(state.current + 1), k: () => open(state.current - 1), ArrowRight: () => step(state.turn + 1), ArrowLeft: () => step(state.turn - 1), "/": () => $("search").focus() };
    if (actions[event.key]) { event.preventDefault(); actions[event.key](); }
  });
  // After the first paint; a chunk is decoded only when one of its trajectories is looked at.
  setTimeout(filter, 0);
})();
