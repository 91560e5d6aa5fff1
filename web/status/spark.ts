/** A line of a few pixels, in the colour of the text. */
export function drawSpark(canvas: HTMLCanvasElement, values: readonly (number | null)[]): void {
  const scale = window.devicePixelRatio || 1;
  const width = Math.round(110 * scale);
  const height = Math.round(24 * scale);
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const context = canvas.getContext('2d');
  if (context === null) return;
  context.clearRect(0, 0, width, height);
  const most = Math.max(1e-9, ...values.map((value) => value ?? 0));
  context.strokeStyle = getComputedStyle(canvas).color;
  context.lineWidth = scale;
  context.beginPath();
  const step = width / 179;
  values.forEach((value, index) => {
    const x = (index + 180 - values.length) * step;
    const y = height - scale - ((value ?? 0) / most) * (height - 2 * scale);
    if (index === 0) context.moveTo(x, y);
    else context.lineTo(x, y);
  });
  context.stroke();
}
