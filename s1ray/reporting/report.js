"use strict";
// The page's only script: the theme button, and the browser of sample answers. Model output enters
// the page as text nodes alone.

function setUpTheme() {
  const themes = ["auto", "light", "dark"];
  const asked = new URLSearchParams(location.search).get("theme");
  const button = document.getElementById("theme");
  let theme = themes.includes(asked) ? asked : "auto";
  const show = () => {
    document.documentElement.dataset.theme = theme;
    button.textContent = `Theme: ${theme}`;
  };
  button.addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    show();
  });
  button.hidden = false;
  show();
}

const VERDICTS = {
  correct: "\u2713 correct",
  incorrect: "\u2717 wrong",
  no_answer: "no answer found",
  timeout: "grader ran out of time",
  gold_error: "gold answer unreadable",
  unscored: "not graded",
};
const ENDS = {
  model: "Ended by the model",
  end_token: "The model ended its turn",
  cap: "Cut at the budget",
  context: "Cut: the context window was full",
};
const KEPT_PIECES = 8;

function make(tag, className, ...content) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...content);
  return element;
}

function plural(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

class Pieces {
  // Compressed lists of samples, opened when one of theirs is looked at.
  constructor(rowsPerPiece) {
    this.rowsPerPiece = rowsPerPiece;
    this.open = new Map();
  }

  async read(row) {
    const number = Math.floor(row / this.rowsPerPiece);
    if (!this.open.has(number)) {
      this.open.set(number, this.unpack(number));
      if (this.open.size > KEPT_PIECES) this.open.delete(this.open.keys().next().value);
    }
    return (await this.open.get(number))[row % this.rowsPerPiece];
  }

  async unpack(number) {
    const text = document.getElementById(`samples-${number}`).textContent;
    const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  }
}

function makeText(className, segments, ...after) {
  const text = make("div", `text ${className}`);
  for (const [kind, part] of segments) {
    if (kind === "wait" || kind === "forced") {
      const mark = make("mark", kind, make("span", "hidden", `[${kind === "wait" ? "injected" : "forced"}] `), part);
      text.append(mark);
    } else if (kind === "elided") {
      text.append(make("span", "elided", part));
    } else {
      text.append(part);
    }
  }
  text.append(...after);
  return text;
}

function describeEnd(sample) {
  const isCut = sample.end === "cap" || sample.end === "context";
  const tokens = plural(sample.tokens, "thinking token");
  const waits = sample.waits ? `, ${plural(sample.waits, "Wait")} injected` : "";
  return make("span", isCut ? "end cut" : "end", `${ENDS[sample.end] ?? sample.end}, ${tokens}${waits}`);
}

function makeParts(sample) {
  const parts = make("dl", "parts");
  const add = (term, ...content) => parts.append(make("dt", "", term), make("dd", "", ...content));
  add("Question", sample.question === null
    ? make("span", "quiet", "not shown: the benchmark is private")
    : makeText("", [["model", sample.question]]));
  add("Thinking", makeText("written", sample.thinking, describeEnd(sample)));
  const limit = sample.complete ? [] : [make("span", "end cut", "Cut at the answer's limit")];
  add("Answer", makeText("written", sample.answer, ...limit));
  const extracted = sample.extracted === null
    ? "nothing extracted"
    : make("span", "", "extracted ", make("code", "", sample.extracted));
  const layer = sample.layer ? `, compared by ${sample.layer.replaceAll("_", " ")}` : "";
  add("Graded", extracted, ", gold ", make("code", "", sample.gold), make("span", "quiet", layer));
  return parts;
}

class SampleBrowser {
  constructor(index) {
    this.index = index;
    this.pieces = new Pieces(index.rowsPerPiece);
    this.form = document.getElementById("filters");
    this.cards = document.getElementById("cards");
    this.status = document.getElementById("status");
    this.more = document.getElementById("more");
    this.columns = ["benchmarks", "items", "samples", "models", "policies", "verdicts"];
    const front = new Set(index.first);
    this.order = [...index.first, ...index.rows.keys()].filter(
      (row, place) => place < index.first.length || !front.has(row));
    this.choice = 0; // grows with every new choice, so that a late answer to an old one is dropped
  }

  start() {
    for (const name of ["benchmarks", "models", "policies", "verdicts"]) this.fill(name);
    this.form.elements.question.parentElement.hidden = false;
    this.form.addEventListener("input", () => this.choose());
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("reset", () => setTimeout(() => this.choose()));
    this.more.addEventListener("click", () => this.show(Number(this.cards.dataset.more), true));
    this.choose();
  }

  fill(name) {
    const select = this.form.elements[name];
    const values = this.index[name];
    select.append(new Option("all", ""));
    values.forEach((value, rank) => {
      const label = name === "verdicts" ? (VERDICTS[value] ?? value) : value;
      const isChosen = name === "models" && rank === this.index.preferred;
      select.append(new Option(label, String(rank), isChosen, isChosen));
    });
    select.parentElement.hidden = values.length < 2;
  }

  choose() {
    const wanted = this.columns.map((name) => {
      const value = this.form.elements[name]?.value ?? "";
      return value === "" ? null : Number(value);
    });
    const item = this.form.elements.question.value.trim();
    const isWhole = this.index.items.includes(item);
    const items = this.index.items.map((name) => (isWhole ? name === item : name.includes(item)));
    this.found = this.order.filter((row) => {
      const values = this.index.rows[row];
      return items[values[1]] && wanted.every((rank, at) => rank === null || rank === values[at]);
    });
    this.choice += 1;
    this.shown = 0;
    this.cards.replaceChildren();
    this.show(Number(this.cards.dataset.first), false);
  }

  async show(number, isAsked) {
    const choice = this.choice;
    const rows = this.found.slice(this.shown, this.shown + number);
    this.shown += rows.length;
    let cards;
    try {
      cards = await Promise.all(rows.map(async (row) => this.makeCard(row, await this.pieces.read(row))));
    } catch (error) {
      this.status.textContent = `This browser cannot open the samples (${error.message}); they stand in samples.jsonl.`;
      return;
    }
    if (choice !== this.choice) return;
    this.cards.append(...cards);
    if (isAsked && cards.length) cards[0].focus();
    const left = this.found.length - this.shown;
    this.status.textContent = `${this.shown.toLocaleString("en")} of ${plural(this.found.length, "answer")} shown`;
    this.more.hidden = left === 0;
    this.more.textContent = `Show ${Math.min(left, Number(this.cards.dataset.more))} more`;
  }

  makeCard(row, sample) {
    const [benchmark, item, number, model, policy, verdict] = this.index.rows[row];
    const name = this.index.verdicts[verdict];
    const heading = make("h3", "", make("span", `verdict ${name}`, VERDICTS[name] ?? name));
    heading.append(make("span", "", this.index.models[model]), make("span", "", this.index.policies[policy]));
    const where = [this.index.benchmarks[benchmark], this.index.items[item]];
    if (number) where.push(`sample ${number}`);
    heading.append(make("span", "quiet", where.join(" / ")));
    const all = make("button", "link", "This question at every budget");
    all.type = "button";
    all.addEventListener("click", () => this.pick(benchmark, this.index.items[item]));
    const card = make("article", "", heading, makeParts(sample), all);
    card.tabIndex = -1;
    return card;
  }

  pick(benchmark, item) {
    this.form.elements.benchmarks.value = String(benchmark);
    this.form.elements.question.value = item;
    this.form.elements.policies.value = "";
    this.form.elements.verdicts.value = "";
    this.choose();
    this.form.scrollIntoView();
    this.form.elements.question.focus({ preventScroll: true });
  }
}

setUpTheme();
const data = document.getElementById("sample-index");
if (data) new SampleBrowser(JSON.parse(data.textContent)).start();
