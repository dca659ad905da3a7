const LINES = [
  "M40 250H440",
  "M100 250C140 250 130 170 180 170H380",
  "M160 250C200 250 190 320 240 320H330",
  "M230 170C270 170 260 90 310 90H440",
];
const DOTS = [
  [40, 250], [100, 250], [160, 250], [250, 250], [340, 250], [180, 170], [230, 170], [300, 170], [380, 170],
  [240, 320], [330, 320], [310, 90], [375, 90],
];

/** A small phylogeny: one line of descent leads to the best version, the others end or go on. */
export default function Tree({ className }) {
  return (
    <svg viewBox="0 0 480 380" className={className} role="img" aria-label="A graph of commits: branches part, and one leads to the best version">
      <rect x="1" y="1" width="478" height="378" rx="24" className="fill-slate-50 stroke-slate-200 dark:fill-slate-900 dark:stroke-slate-800" />
      {LINES.map((d) => (
        <path key={d} d={d} fill="none" strokeWidth="3" className="stroke-slate-300 dark:stroke-slate-700" />
      ))}
      <path
        d="M40 250H100C140 250 130 170 180 170H230C270 170 260 90 310 90H440"
        fill="none"
        strokeWidth="5"
        className="stroke-teal-600 dark:stroke-teal-400"
      />
      {DOTS.map(([x, y]) => (
        <circle key={`${x}-${y}`} cx={x} cy={y} r="8" strokeWidth="3" className="fill-white stroke-slate-400 dark:fill-slate-950 dark:stroke-slate-500" />
      ))}
      <circle cx="330" cy="320" r="8" className="fill-rose-500" />
      <circle cx="440" cy="250" r="8" className="fill-slate-400 dark:fill-slate-500" />
      <circle cx="440" cy="90" r="15" className="fill-teal-600 dark:fill-teal-400" />
      <path d="m433 90 5 5 9-10" fill="none" strokeWidth="3" strokeLinecap="round" strokeLinejoin="round" className="stroke-white dark:stroke-slate-950" />
    </svg>
  );
}
