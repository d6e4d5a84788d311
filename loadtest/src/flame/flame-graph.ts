// A flame graph as one SVG that needs nothing else: the width of a bar is its share of the time, what it called stands
// on it, and resting on a bar shows its name, place and time. Brendan Gregg's form, as icicles: callers on top.
import { type Call, hottest } from "./call-tree.js";

const widthPx = 1_600;
const rowPx = 18;
const headPx = 48;
const charPx = 6.6;
/** A bar that is narrower cannot be seen. */
const barPxMin = 0.4;
const textPxMin = 24;
const hottestShown = 12;

export function flameGraph(title: string, root: Call): string {
  const bars: string[] = [];
  let depthMax = 0;
  const pxPerUs = root.totalUs === 0 ? 0 : widthPx / root.totalUs;
  const draw = (call: Call, leftUs: number, depth: number) => {
    const wide = call.totalUs * pxPerUs;
    if (wide < barPxMin) return;
    depthMax = Math.max(depthMax, depth);
    bars.push(bar(call, leftUs * pxPerUs, depth, wide, call.totalUs / root.totalUs));
    let at = leftUs;
    for (const callee of call.callees) {
      draw(callee, at, depth + 1);
      at += callee.totalUs;
    }
  };
  draw(root, 0, 0);
  const listTop = headPx + (depthMax + 2) * rowPx;
  const list = hottest(root, hottestShown).map(({ call, selfUs }, at) => {
    const share = root.totalUs === 0 ? 0 : selfUs / root.totalUs;
    return `<text x="8" y="${listTop + (at + 1) * rowPx}">${percent(share).padStart(6)}  ${escapeXml(call)}</text>`;
  });
  const height = listTop + (hottestShown + 2) * rowPx;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${widthPx}" height="${height}" viewBox="0 0 ${widthPx} ${height}">`,
    "<style>text{font:11px ui-monospace,monospace;fill:#222;white-space:pre}rect{stroke:#fff;stroke-width:.5}.title{font-size:15px}</style>",
    `<rect width="${widthPx}" height="${height}" fill="#fff"/>`,
    `<text class="title" x="8" y="20">${escapeXml(title)}</text>`,
    `<text x="8" y="38">${ms(root.totalUs)} of processor time, idle time left out</text>`,
    ...bars,
    `<text x="8" y="${listTop}">Most time in itself:</text>`,
    ...list,
    "</svg>",
    "",
  ].join("\n");
}

function bar(call: Call, left: number, depth: number, wide: number, share: number): string {
  const top = headPx + depth * rowPx;
  const place = call.place === "" ? "" : ` ${call.place}`;
  const about = `${call.name}${place} — ${ms(call.totalUs)}, ${percent(share)}; in itself ${ms(call.selfUs)}`;
  const label =
    wide < textPxMin
      ? ""
      : `<text x="${(left + 3).toFixed(1)}" y="${top + 13}">${escapeXml(call.name.slice(0, Math.floor((wide - 6) / charPx)))}</text>`;
  return `<g><title>${escapeXml(about)}</title><rect x="${left.toFixed(1)}" y="${top}" width="${wide.toFixed(1)}" height="${rowPx - 1}" fill="${colour(call)}"/>${label}</g>`;
}

/** Node's own code, dependencies and Holdfast's differ; one function always has the same shade. */
function colour({ name, place }: Call): string {
  const hue =
    place === "" || place.startsWith("node:") ? 205 : place.includes("holdfast") || isOurs(place) ? 12 : 45;
  let sum = 0;
  for (const char of name) sum = (sum * 31 + char.charCodeAt(0)) % 1_000;
  return `hsl(${hue} 75% ${70 + (sum % 15)}%)`;
}

function isOurs(place: string): boolean {
  return (
    /(^|\/)(hub|worker|loadtest|gen\/ts)\/dist\//.test(place) ||
    /(^|\/)dist\/(domain|ledger|lanes|services|rpc|session|runner|journal|wire)\//.test(place)
  );
}

function ms(us: number): string {
  return `${(us / 1_000).toFixed(1)} ms`;
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

function escapeXml(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}
