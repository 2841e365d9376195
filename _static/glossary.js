/* Cards for links to the glossary, and a filter for its page.
 *
 * A card opens under the pointer, at the focus of the keyboard, or at a first tap; Escape
 * closes it. The entries are loaded when the first card is asked for.
 */
"use strict";
(function () {
  const base = document.currentScript.src;
  const DATA = new URL("glossary_terms.js", base).href;
  let card = null, owner = null, timer = 0, waiting = null, tapped = null;

  /** The entries: English, Chinese and meaning by the name in the address. */
  function entries() {
    waiting = waiting || new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = DATA;
      script.onload = () => resolve(window.BOOK_GLOSSARY);
      script.onerror = reject;
      document.head.appendChild(script);
    });
    return waiting;
  }

  function part(name, text, language) {
    const piece = card.appendChild(document.createElement("span"));
    piece.className = name;
    piece.textContent = text;
    if (language) piece.lang = language;
  }

  function make() {
    card = document.createElement("div");
    card.id = "term-card";
    card.className = "term-card";
    card.setAttribute("role", "tooltip");
    card.addEventListener("pointerenter", () => clearTimeout(timer));
    card.addEventListener("pointerleave", () => later(close, 200));
    (document.querySelector("main") || document.body).appendChild(card);
  }

  /** Below the link or above it, within the window. */
  function place(link) {
    const box = link.getClientRects()[0], root = document.documentElement, gap = 8;
    const origin = (card.offsetParent || root).getBoundingClientRect();
    const room = root.clientWidth - card.offsetWidth - gap;
    const below = box.bottom + gap, above = box.top - card.offsetHeight - gap;
    const fits = below + card.offsetHeight <= innerHeight || above < 0;
    card.style.left = Math.max(gap, Math.min(box.left, room)) - origin.left + "px";
    card.style.top = (fits ? below : above) - origin.top + "px";
  }

  async function open(link) {
    clearTimeout(timer);
    if (owner === link) return;
    close();
    owner = link;
    const entry = (await entries())[link.hash.replace("#term-", "")];
    if (!entry || owner !== link) return;
    if (!card) make();
    card.replaceChildren();
    part("english", entry[0]);
    part("chinese", entry[1], "zh");
    part("meaning", entry[2]);
    card.hidden = false;
    link.setAttribute("aria-describedby", card.id);
    place(link);
  }

  function close() {
    clearTimeout(timer);
    if (owner) owner.removeAttribute("aria-describedby");
    if (card) card.hidden = true;
    owner = null;
  }

  function later(action, delay) {
    clearTimeout(timer);
    timer = setTimeout(action, delay);
  }

  function withCard(link) {
    link.addEventListener("pointerenter", (event) => {
      if (event.pointerType !== "touch") later(() => open(link), 150);
    });
    link.addEventListener("pointerleave", (event) => {
      if (event.pointerType !== "touch") later(close, 200);
    });
    link.addEventListener("pointerdown", (event) => {
      tapped = event.pointerType === "touch" && owner !== link ? link : null;
    });
    link.addEventListener("focus", () => open(link));
    link.addEventListener("blur", close);
    link.addEventListener("click", (event) => {
      if (tapped !== link) return;
      event.preventDefault();  // the second tap follows the link
      tapped = null;
      open(link);
    });
  }

  /** The field that leaves the entries with what is typed. */
  function withFilter(bar) {
    const items = [...document.querySelectorAll("dl.terms > dt")].map((term) => {
      const meaning = term.nextElementSibling;
      const text = term.textContent + " " + meaning.textContent;
      return {parts: [term, meaning], text: text.toLowerCase()};
    });
    const box = document.createElement("div");
    box.className = "filter";
    box.innerHTML = '<label for="term-filter">Filter</label>' +
      '<input id="term-filter" type="search" autocomplete="off" spellcheck="false">' +
      '<span role="status"></span>';
    bar.before(box);
    const field = box.querySelector("input"), status = box.querySelector("[role]");
    field.addEventListener("input", () => {
      const asked = field.value.trim().toLowerCase();
      let count = 0;
      for (const item of items) {
        const shown = item.text.includes(asked);
        item.parts.forEach((part) => { part.hidden = !shown; });
        count += shown;
      }
      document.querySelectorAll("dl.terms").forEach((list) => {
        list.parentElement.hidden = !list.querySelector("dt:not([hidden])");
      });
      bar.querySelectorAll("a").forEach((letter) => {
        letter.closest("li").hidden = document.querySelector(letter.hash).hidden;
      });
      status.textContent = asked ? `${count} of ${items.length} terms` : "";
    });
  }

  document.querySelectorAll("a.term-link").forEach(withCard);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && owner) close();
  });
  document.addEventListener("pointerdown", (event) => {
    if (owner && !event.target.closest(".term-card, a.term-link")) close();
  });
  const bar = document.querySelector("ul.letters");
  if (bar && document.querySelector("dl.terms")) withFilter(bar);
})();
