// The data of the page: base 85 of zlib of the length of a JSON text, the text, and whole numbers in planes of bytes.

const packedText = new TextDecoder();
// Python's base64.b85encode, with [ for <
const letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;[=>?@^_`{|}~";
const digits = new Uint8Array(128);
for (let place = 0; place < letters.length; place += 1) digits[letters.charCodeAt(place)] = place;

// Five letters are four bytes; the last group may be shorter, as if it ended in the highest digits.
function bytesOf(text) {
  const bytes = new Uint8Array(Math.ceil(text.length / 5) * 4);
  for (let place = 0, end = 0; place < text.length; place += 5, end += 4) {
    let number = 0;
    for (let letter = place; letter < place + 5; letter += 1) {
      number = number * 85 + (letter < text.length ? digits[text.charCodeAt(letter)] : 84);
    }
    bytes[end] = number >>> 24;
    bytes[end + 1] = number >>> 16;
    bytes[end + 2] = number >>> 8;
    bytes[end + 3] = number;
  }
  return bytes.subarray(0, Math.floor((text.length * 4) / 5));
}

async function unpack(id) {
  const bytes = bytesOf(document.getElementById(id).textContent);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const whole = new Uint8Array(await new Response(stream).arrayBuffer());
  const end = 4 + new DataView(whole.buffer).getUint32(0, true);
  return { ...JSON.parse(packedText.decode(whole.subarray(4, end))), numbers: whole.subarray(end) };
}

// Whole numbers of 32 bits as four runs of bytes, the lowest first: 0 for null, else the number and 1.
function wholeNumbers(bytes, { offset, folded }, length) {
  return Array.from({ length }, (_, place) => {
    let number = 0;
    for (let plane = 3; plane >= 0; plane -= 1) number = (number << 8) | bytes[offset + plane * length + place];
    if (number === 0) return null;
    number -= 1;
    return folded ? (number >>> 1) ^ -(number & 1) : number;
  });
}

// The rows of a packed table.
function rowsOf({ length, values, numbers }, bytes) {
  const unpacked = {};
  for (const [name, place] of Object.entries(numbers)) {
    const column = wholeNumbers(bytes, place, length);
    const [near, low] = [unpacked[place.beside], unpacked[place.mirrored]];
    const expected = (row) => (near ? near[row] : 0) + (low ? near[row] - low[row] : 0);
    unpacked[name] = column.map((number, row) => (number === null ? null : number + expected(row)));
  }
  return Array.from({ length }, (_, place) => {
    const row = {};
    for (const [name, texts] of Object.entries(values)) row[name] = texts[place];
    for (const [name, column] of Object.entries(unpacked)) {
      row[name] = column[place] === null ? null : column[place] / numbers[name].scale;
    }
    return row;
  });
}
