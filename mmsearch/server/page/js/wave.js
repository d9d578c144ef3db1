// A sound as a row of bars, in the page's colours.

/**
 * Draw {start, end, peaks} on a canvas, mirrored about its middle; what lies in one of the `moments` is in the accent.
 */
export function drawWave(canvas, { start, end, peaks }, moments = [], { step = 4, bar = 2.5 } = {}) {
  const draw = () => {
    const { width, height } = canvas.getBoundingClientRect();
    if (!width) return;
    const scale = devicePixelRatio;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    const style = getComputedStyle(canvas);
    const colours = [style.getPropertyValue("--edge"), style.getPropertyValue("--accent")].map((text) => resolved(canvas, text));
    const bars = Math.floor(width / step);
    const loudest = Math.max(0.05, ...peaks);
    for (let at = 0; at < bars; at++) {
      const [from, to] = [Math.floor((at / bars) * peaks.length), Math.max(Math.floor((at / bars) * peaks.length) + 1, Math.floor(((at + 1) / bars) * peaks.length))];
      const peak = Math.max(...peaks.slice(from, to)) / loudest;
      const time = start + ((at + 0.5) / bars) * (end - start);
      const isIn = moments.some((one) => one.start !== null && time >= one.start && time <= (one.end ?? one.start));
      const high = Math.max(2, peak ** 0.7 * height);
      pen.fillStyle = colours[isIn ? 1 : 0];
      pen.globalAlpha = isIn ? 1 : 0.55;
      pen.beginPath();
      pen.roundRect(at * step, (height - high) / 2, bar, high, 1.25);
      pen.fill();
    }
  };
  draw();
  canvas.redraw = draw;
}

/** A colour as canvases know it: light-dark() and the like are worked out by the style of an element. */
function resolved(canvas, colour) {
  const before = canvas.style.color;
  canvas.style.color = colour.trim();
  const found = getComputedStyle(canvas).color;
  canvas.style.color = before;
  return found;
}

function redrawAll() {
  for (const canvas of document.querySelectorAll("canvas")) canvas.redraw?.();
}

addEventListener("themechange", redrawAll);
addEventListener("resize", redrawAll);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawAll);
