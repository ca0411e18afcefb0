// Keeps the page up to date by server-sent events. Without it the page is whole as well, and loads itself again.
// Nothing is interpreted as HTML: every text is put in as a text, and only where it differs.

const OLD_S = 15; // nothing was heard for so long: what is shown is old
const RETRY_MS = 5000; // until the next attempt after the service has refused one
const TYPING_MS = 250; // a filter is sent when nobody has typed for so long

const TREND_S = 120; // that the line under the first figure reaches back
const SVG = "http://www.w3.org/2000/svg";

const root = document.documentElement;
const byId = (id) => document.getElementById(id);
const form = byId("filter");
const trend = [];
let source = null;
let heardAt = Date.now();
let ended = "";
let retry = 0;

// -- what is shown

function put(element, text) {
  if (element && element.textContent !== text) element.textContent = text;
}

function tone(element, name) {
  if (!name) element.removeAttribute("data-tone");
  else if (element.dataset.tone !== name) element.dataset.tone = name;
}

function list(parent, tag, texts) {
  while (parent.children.length > texts.length) parent.lastElementChild.remove();
  texts.forEach((text, index) => {
    put(parent.children[index] ?? parent.appendChild(document.createElement(tag)), text);
  });
}

function showVerdict(verdict) {
  const section = byId(verdict.key);
  tone(section, verdict.tone);
  put(section.querySelector(".word"), verdict.word);
  put(section.querySelector(".text"), verdict.text);
  list(section.querySelector(".reasons"), "li", verdict.reasons);
  const words = [...document.querySelectorAll(".verdict .word")].map((word) => word.textContent);
  document.title = `${words.join(", ")} – ${root.dataset.instance}`;
}

function showFigures(figures) {
  [...byId("figures").children].forEach((box, index) => {
    const figure = figures[index];
    if (!figure) return;
    const [name, value, more, mood] = figure;
    put(box.children[0], name);
    put(box.children[1], value);
    put(box.children[2], more);
    tone(box, mood);
  });
  showTrend(byId("figures").firstElementChild, Number(figures[0][1].replaceAll(",", "")));
}

function showTrend(box, value) {
  const now = Date.now();
  trend.push([now, value]);
  while (trend.length > 2 && trend[1][0] < now - TREND_S * 1000) trend.shift();
  const top = Math.max(...trend.map((point) => point[1]), 1);
  const x = (at) => (100 * (1 - (now - at) / 1000 / TREND_S)).toFixed(1);
  const y = (one) => (23 - (22 * one) / top).toFixed(1);
  const points = trend.map(([at, one]) => `${x(at)},${y(one)}`);
  let line = box.querySelector("polyline");
  if (!line) {
    const picture = document.createElementNS(SVG, "svg");
    picture.setAttribute("viewBox", "0 0 100 24");
    picture.setAttribute("preserveAspectRatio", "none");
    line = picture.appendChild(document.createElementNS(SVG, "polyline"));
    const place = box.appendChild(document.createElement("dd"));
    place.setAttribute("aria-hidden", "true");
    place.append(picture);
  }
  line.setAttribute("points", points.join(" "));
}

function showCell(element, cell) {
  const [text, mood, ratio] = Array.isArray(cell) ? cell : [cell, ""];
  tone(element, mood);
  if (ratio === undefined) {
    put(element, text);
    return;
  }
  let [meter, words] = element.children;
  if (!meter) {
    meter = document.createElement("meter");
    Object.assign(meter, { min: 0, max: 1, low: 0.5, high: 0.9, optimum: 0 });
    meter.setAttribute("aria-label", "fill");
    words = document.createElement("span");
    element.replaceChildren(meter, " ", words);
  }
  meter.value = ratio;
  put(words, text);
}

function showTable(id, [rows, note]) {
  const table = byId(id);
  if (!table) return;
  const numbers = [...table.tHead.rows[0].cells].map((cell) => cell.classList.contains("num"));
  const body = table.tBodies[0];
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((row, index) => {
    const line = body.rows[index] ?? body.insertRow();
    row.forEach((cell, column) => {
      let element = line.cells[column];
      if (!element) {
        element = line.appendChild(document.createElement(column ? "td" : "th"));
        if (!column) element.scope = "row";
        if (numbers[column]) element.className = "num";
      }
      showCell(element, cell);
    });
  });
  put(table.caption.querySelector(".note"), note);
}

function showPages([page, pages]) {
  put(byId("pages"), `Page ${page} of ${pages}`);
  const [previous, next] = [byId("previous"), byId("next")];
  previous.value = page - 1;
  next.value = page + 1;
  previous.disabled = page <= 1;
  next.disabled = page >= pages;
}

function show(parts) {
  for (const [name, part] of Object.entries(parts)) {
    if (name === "at") put(byId("at"), part);
    else if (name === "tone") showTone(part);
    else if (name === "figures") showFigures(part);
    else if (name === "pages") showPages(part);
    else if (name.startsWith("table-")) showTable(name, part);
    else showVerdict(part);
  }
}

function showTone(name) {
  root.dataset.tone = name;
  const href = `/assets/${name}.svg`;
  if (byId("icon").getAttribute("href") !== href) byId("icon").href = href;
}

// -- whether it is of now

function showLife() {
  const old = Boolean(ended) || Date.now() - heardAt > OLD_S * 1000;
  root.classList.toggle("old", old);
  const live = byId("live");
  const time = byId("at");
  tone(live, old ? "bad" : "good");
  const before = old ? `${ended || "The service does not answer."} What is shown is of ` : "Live, as of ";
  if (live.firstChild.nodeType !== Node.TEXT_NODE) live.prepend("");
  if (live.firstChild.data !== before) live.firstChild.data = before;
  if (old) {
    document.title = `Not live – ${root.dataset.instance}`;
    byId("icon").href = "/assets/idle.svg";
  }
}

// -- what is asked for

function query() {
  const asked = form ? new URLSearchParams(new FormData(form)) : new URLSearchParams();
  const page = new URLSearchParams(location.search).get("page");
  if (page) asked.set("page", page);
  return asked;
}

function ask(changes) {
  const asked = query();
  if (!("page" in changes)) asked.delete("page");
  for (const [name, value] of Object.entries(changes)) asked.set(name, value);
  if ("sort" in changes) {
    byId("sort").value = changes.sort;
    showSort(changes.sort);
  }
  history.replaceState(null, "", `?${asked}`);
  listen();
}

function showSort(sort) {
  for (const button of document.querySelectorAll("thead button")) {
    const first = button.dataset.sort;
    const field = first.replace("-", "");
    const now = sort.replace("-", "") === field;
    const down = sort.startsWith("-");
    button.closest("th").setAttribute("aria-sort", now ? (down ? "descending" : "ascending") : "none");
    button.value = now ? (down ? field : `-${field}`) : first;
  }
}

// -- listening

function listen() {
  clearTimeout(retry);
  source?.close();
  source = new EventSource(`/events?${query()}`);
  source.onmessage = (message) => {
    heardAt = Date.now();
    ended = "";
    show(JSON.parse(message.data));
    showLife();
  };
  source.addEventListener("bye", () => {
    ended = "The service has stopped.";
    showLife();
  });
  source.onerror = () => {
    if (source.readyState !== EventSource.CLOSED) return; // the browser asks again by itself
    retry = setTimeout(listen, RETRY_MS);
    why();
  };
}

async function why() {
  try {
    const answer = await fetch(`/events?${query()}`, { method: "HEAD" });
    if (answer.status === 503) ended = "Too many pages are open; close one.";
    else if (!answer.ok) ended = `The service refuses (${answer.status}).`;
  } catch {
    // it does not answer at all, which shows by itself
  }
  showLife();
}

if (form) {
  let typing = 0;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const button = event.submitter;
    ask(button?.name ? { [button.name]: button.value } : {});
  });
  form.elements.q.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => ask({}), TYPING_MS);
  });
  form.elements.show.addEventListener("change", () => ask({}));
}

root.classList.add("live");
setInterval(showLife, 1000);
listen();
