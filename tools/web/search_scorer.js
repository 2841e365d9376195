/* How results are ranked: the term of the glossary, chapters, the rest, exercises. */
var Scorer = {
  score: ([page, title, anchor, description, score]) => {
    if (anchor.startsWith("#term-") && score >= 100) return 1000;
    if (/^chapters\/\d[^/]*\/\d/.test(page)) return 500 + score;
    return /^chapters\/exercises\//.test(page) ? score : 200 + score;
  },
  // as in Sphinx
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: {0: 15, 1: 5, 2: -5},
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
