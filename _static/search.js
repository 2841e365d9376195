/* The page of the search: results with a sentence of the text, also from a folder.
 *
 * The index, its stems and its ranking are Sphinx's (searchtools.js); the text of the
 * pages is in search_text.js. A run of Chinese must stand in a page as it was typed.
 */
"use strict";
(function () {
  if (typeof Search === "undefined") return;
  const han = /[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+/g;
  const data = window.BOOK_TEXT || {pages: {}, names: {}};
  const stemmer = new Stemmer(), stems = new Map();

  function stem(text) {
    if (!stems.has(text)) stems.set(text, stemmer.stemWord(text.toLowerCase()));
    return stems.get(text);
  }

  /** What is looked for in a sentence: runs of Chinese, and words by their stems. */
  function wanted(query, terms) {
    const index = Search._index;
    const stems = [...terms].filter((term) => !term.match(han)).map((term) => ({
      term: term,
      part: term.length > 2 && !(term in index.terms) && !(term in index.titleterms),
    }));
    return {runs: query.match(han) || [], stems: stems};
  }

  /** The pieces of a text that were looked for: [start, end]. */
  function hits(text, want) {
    const found = [];
    for (const run of want.runs) {
      for (let i = text.indexOf(run); i >= 0; i = text.indexOf(run, i + run.length)) {
        found.push([i, i + run.length, run]);
      }
    }
    if (want.stems.length) {
      for (const match of text.matchAll(/[\p{L}\p{N}_]+/gu)) {
        const stemmed = stem(match[0]);
        const of = want.stems.find(
          (stem) => stem.part ? stemmed.includes(stem.term) : stemmed === stem.term);
        if (of) found.push([match.index, match.index + match[0].length, of.term]);
      }
    }
    return found.sort((a, b) => a[0] - b[0]);
  }

  /** A paragraph in sentences. */
  function sentences(text) {
    return text.match(/.+?(?:[.!?][)”"]*(?=\s+[^a-z\s])|[。！？]|$)/gsu) || [];
  }

  const kinds = (marks) => new Set(marks.map((mark) => mark[2])).size;

  /** The best sentence of a page, or of one of its sections, and how many have a hit. */
  function best(page, anchor, want) {
    let found = {sentence: "", marks: []}, value = -1, count = 0;
    for (const [id, title, paragraphs] of data.pages[page] || []) {
      if (anchor && "#" + id !== anchor) continue;
      const above = kinds(hits(title, want));
      for (const sentence of paragraphs.flatMap(sentences)) {
        const marks = hits(sentence, want), worth = 3 * kinds(marks) + above;
        if (marks.length) count++;
        if (worth > value) {
          found = {id, title, sentence, marks};
          value = worth;
        }
      }
    }
    return {...found, count: count};
  }

  /** Whether each run of Chinese stands in the page as it was typed. */
  function holds(page, want) {
    const sections = data.pages[page];
    if (!sections) return true;
    const text = () => sections.map((s) => [s[1], ...s[2]].join("\n")).join("\n");
    return !want.runs.length || want.runs.every((run) => text().includes(run));
  }

  /** A long sentence is cut around its first hit. */
  function cut(sentence, marks) {
    const start = marks.length && marks[0][0] > 160 ?
      sentence.lastIndexOf(" ", marks[0][0] - 100) + 1 : 0;
    const end = sentence.length > start + 320 ? start + 300 : sentence.length;
    return [start, end];
  }

  function snippet(result, found) {
    const line = document.createElement("p");
    line.className = "context";
    if (!result.anchor && found.id && found.title !== result.title) {
      const link = line.appendChild(document.createElement("a"));
      link.href = result.file + "#" + found.id;
      link.textContent = found.title;
      line.append(": ");
    }
    const [start, end] = cut(found.sentence, found.marks);
    let place = start;
    if (start) line.append("… ");
    for (const [from, to] of found.marks) {
      if (from < place || to > end) continue;
      line.append(found.sentence.slice(place, from));
      const mark = line.appendChild(document.createElement("mark"));
      mark.textContent = found.sentence.slice(from, to);
      place = to;
    }
    line.append(found.sentence.slice(place, end) + (end < found.sentence.length ? " …" : ""));
    return line;
  }

  function show(result, found) {
    const item = document.createElement("li");
    const link = item.appendChild(document.createElement("a"));
    link.href = result.file + result.anchor;
    link.innerHTML = result.title;
    if (result.entry) link.append(` > ${result.entry}`);
    if (found.sentence) item.appendChild(snippet(result, found));
    Search.output.appendChild(item);
  }

  /** Results of Sphinx as objects, the best first; equals by the number of hits. */
  function ranked(results, want) {
    const files = DOCUMENTATION_OPTIONS.LINK_SUFFIX;
    const rows = new Set(results.filter((r) => r[2].startsWith("#term-")).map((r) => r[0]));
    const known = results.reverse().filter(([page, , anchor]) =>
      holds(page, want) && (anchor || !rows.has(page)));  // a row says more than its page
    const items = known.map(([page, title, anchor, , score]) => {
      const found = best(page, anchor, want);
      const entry = anchor.startsWith("#term-") ? found.title : "";
      return {file: page + files, title, entry, anchor, score, found};
    });
    return items.sort((a, b) => b.score - a.score || b.found.count - a.found.count);
  }

  /** The listings of public names of the package. */
  function named(query) {
    const asked = query.trim().toLowerCase();
    const found = Object.keys(data.names).filter((name) => name.toLowerCase() === asked);
    return found.map((name) => {
      const page = data.names[name].replace(/\.html.*/, "").replace(/^source\//, "");
      const where = {sentence: `Source: ${page.replaceAll("/", ".")}`, marks: []};
      return {file: data.names[name], title: name, anchor: "", found: where};
    });
  }

  /** A name that is a term of the glossary, too ("attention") stands behind the chapters. */
  function ordered(names, results) {
    const term = results.length && results[0].anchor.startsWith("#term-");
    const chapters = results.findIndex((r) => !r.anchor && !/^chapters\/\d/.test(r.file));
    const place = !term ? 0 : chapters < 0 ? results.length : chapters;
    return [...results.slice(0, place), ...names, ...results.slice(place)];
  }

  /** The pages with a number in their title: "2.5". */
  function numbered(query) {
    const asked = query.trim(), index = Search._index, want = {runs: [], stems: []};
    if (!/^\d+\.\d+$/.test(asked)) return [];
    const places = index.titles.map((title, i) => [title, index.docnames[i]]);
    return places.filter(([title]) => title.split(" ").includes(asked))
      .map(([title, page]) => ({
        file: page + DOCUMENTATION_OPTIONS.LINK_SUFFIX, title, anchor: "",
        found: best(page, "", want),
      }));
  }

  Search.query = (query) => {
    const [asked, terms, excluded, shown, objects] = Search._parseQuery(query);
    const want = wanted(query, terms);
    const words = [...shown].filter((term) => !term.match(han)).concat(want.runs);
    try {
      localStorage.setItem("sphinx_highlight_terms", words.join(" "));
    } catch (error) { /* not allowed here: then nothing is marked on the page */ }
    const found = Search._performSearch(asked, terms, excluded, shown, objects);
    const results = ordered(named(query), ranked(found, want));
    results.unshift(...numbered(query));
    Search.status.setAttribute("role", "status");
    results.forEach((result) => show(result, result.found));
    _finishSearch(results.length);
  };
})();
