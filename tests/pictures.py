"""Pictures of pages for the documents, as small files: 256 colours of each are kept.

They are written where TOWPATH_SHOTS says, and not at all without it.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path

from playwright.sync_api import Locator, Page

# The browser that drew the picture also makes it small: a library for images would be needed for nothing else.
_TO_PALETTE = """
async (encoded) => {
  const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d");
  context.drawImage(bitmap, 0, 0);
  const pixels = context.getImageData(0, 0, width, height).data;
  const colours = new Uint32Array(width * height), seen = new Map();
  for (let at = 0; at < colours.length; at++) {
    colours[at] = (pixels[4 * at] << 16) | (pixels[4 * at + 1] << 8) | pixels[4 * at + 2];
    seen.set(colours[at], (seen.get(colours[at]) ?? 0) + 1);
  }
  const parts = (colour) => [colour >> 16, (colour >> 8) & 255, colour & 255];
  const far = (one, other) => one.reduce((sum, value, at) => sum + (value - other[at]) ** 2, 0);
  const usual = [...seen.keys()].sort((one, other) => seen.get(other) - seen.get(one));
  const palette = [], rest = [];
  for (const colour of usual) {
    const apart = palette.every((kept) => far(parts(kept), parts(colour)) > 40);
    (palette.length < 256 && (palette.length < 16 || apart) ? palette : rest).push(colour);
  }
  const places = new Map(palette.map((colour, at) => [colour, at]));
  for (const colour of rest) {
    let best = 0, least = Infinity;
    palette.forEach((kept, at) => {
      const distance = far(parts(kept), parts(colour));
      if (distance < least) [best, least] = [at, distance];
    });
    places.set(colour, best);
  }
  const rows = new Uint8Array((width + 1) * height);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) rows[y * (width + 1) + 1 + x] = places.get(colours[y * width + x]);
  const packed = new Blob([rows]).stream().pipeThrough(new CompressionStream("deflate"));
  const data = new Uint8Array(await new Response(packed).arrayBuffer());
  const crc = (part) => {
    let value = ~0;
    for (const byte of part) {
      value ^= byte;
      for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
    }
    return ~value >>> 0;
  };
  const chunk = (name, body) => {
    const whole = new Uint8Array(body.length + 12), view = new DataView(whole.buffer);
    view.setUint32(0, body.length);
    whole.set([...name].map((letter) => letter.charCodeAt(0)), 4);
    whole.set(body, 8);
    view.setUint32(body.length + 8, crc(whole.subarray(4, body.length + 8)));
    return whole;
  };
  const head = new Uint8Array(13), view = new DataView(head.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  head.set([8, 3, 0, 0, 0], 8);
  const file = new Blob([
    new Uint8Array([137, 80, 78, 71, 13, 10, 26, 10]), chunk("IHDR", head),
    chunk("PLTE", new Uint8Array(palette.flatMap(parts))), chunk("IDAT", data), chunk("IEND", new Uint8Array()),
  ]);
  const done = new Uint8Array(await file.arrayBuffer());
  let text = "";
  for (let at = 0; at < done.length; at += 8192) text += String.fromCharCode(...done.subarray(at, at + 8192));
  return btoa(text);
}
"""


def folder() -> Path | None:
    """Return where pictures are wanted, or None."""
    name = os.environ.get("TOWPATH_SHOTS")
    return Path(name) if name else None


def take(what: Page | Locator, name: str) -> None:
    """Write name.png of what is to be seen, when pictures are wanted."""
    if where := folder():
        where.mkdir(parents=True, exist_ok=True)
        # Hiding the caret would write style attributes into the page, which its own policy forbids.
        drawn = what.screenshot(caret="initial")
        page = what if isinstance(what, Page) else what.page
        with page.context.browser.new_context() as apart:  # type: ignore[union-attr]
            small = apart.new_page().evaluate(_TO_PALETTE, base64.b64encode(drawn).decode())
        (where / f"{name}.png").write_bytes(base64.b64decode(small))
