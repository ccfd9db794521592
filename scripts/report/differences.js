// The difference of two texts word by word: the longest common subsequence of their words.

const segmenter = globalThis.Intl?.Segmenter ? new Intl.Segmenter(undefined, { granularity: "word" }) : null;

function wordsOf(text) {
  return segmenter ? Array.from(segmenter.segment(text), (part) => part.segment) : text.match(/\s+|[^\s]+/gu) ?? [];
}

// [kind, text] with kind "same", "removed" or "added", in the order of reading.
function differences(before, after) {
  const [a, b] = [wordsOf(before), wordsOf(after)];
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
  let end = 0;
  while (end < Math.min(a.length, b.length) - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
  const [rows, width] = [a.length - start - end, b.length - start - end];
  // lengths[i][j]: of the longest common subsequence of what follows word i of one and word j of the other
  const lengths = Array.from({ length: rows + 1 }, () => new Uint16Array(width + 1));
  for (let i = rows - 1; i >= 0; i -= 1) {
    for (let j = width - 1; j >= 0; j -= 1) {
      lengths[i][j] =
        a[start + i] === b[start + j] ? lengths[i + 1][j + 1] + 1 : Math.max(lengths[i + 1][j], lengths[i][j + 1]);
    }
  }
  const parts = [];
  const add = (kind, text) => {
    if (!text) return;
    if (parts.length && parts[parts.length - 1][0] === kind) parts[parts.length - 1][1] += text;
    else parts.push([kind, text]);
  };
  add("same", a.slice(0, start).join(""));
  let [i, j] = [0, 0];
  while (i < rows || j < width) {
    if (i < rows && j < width && a[start + i] === b[start + j]) {
      add("same", a[start + i]);
      i += 1;
      j += 1;
    } else if (i < rows && (j === width || lengths[i + 1][j] >= lengths[i][j + 1])) {
      add("removed", a[start + i]);
      i += 1;
    } else {
      add("added", b[start + j]);
      j += 1;
    }
  }
  add("same", a.slice(a.length - end).join(""));
  return parts;
}

function marked(before, after) {
  const tags = { removed: "del", added: "ins" };
  return differences(before, after).map(([kind, text]) =>
    kind === "same" ? document.createTextNode(text) : element(tags[kind], {}, text),
  );
}
