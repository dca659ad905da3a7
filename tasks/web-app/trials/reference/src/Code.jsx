import { Fragment, useEffect, useState } from "react";

const LINES = [
  [["comment", "# something to improve"]],
  [["command", "evogit"], ["plain", " new try "], ["option", "--task"], ["plain", " circle-packing"]],
  [["command", "cd"], ["plain", " try"]],
  [],
  [["comment", "# ten minutes for the agents"]],
  [["command", "evogit"], ["plain", " run "], ["option", "--seconds"], ["number", " 600"]],
  [],
  [["comment", "# look, decide, take the best home"]],
  [["command", "evogit"], ["plain", " review"]],
  [["command", "evogit"], ["plain", " promote best "], ["option", "-m"], ["text", ' "tidy"']],
  [["command", "evogit"], ["plain", " land best"]],
];
const TEXT = LINES.map((line) => line.map(([, text]) => text).join("")).join("\n");
const COLOURS = {
  comment: "text-slate-500 dark:text-slate-400",
  command: "font-semibold text-teal-800 dark:text-teal-300",
  option: "text-indigo-700 dark:text-indigo-300",
  text: "text-amber-800 dark:text-amber-200",
  number: "text-rose-700 dark:text-rose-300",
  plain: "text-slate-800 dark:text-slate-100",
};

export default function Code() {
  const [copied, setCopied] = useState(false);

  useEffect(() => {
    if (!copied) return undefined;
    const timer = setTimeout(() => setCopied(false), 2500);
    return () => clearTimeout(timer);
  }, [copied]);

  const copy = () => navigator.clipboard.writeText(TEXT).then(() => setCopied(true));

  return (
    <section id="code" aria-labelledby="code-title" className="wrap grid gap-10 py-16 sm:py-24 lg:grid-cols-[2fr_3fr] lg:items-center">
      <div>
        <p className="eyebrow">Example</p>
        <h2 id="code-title" className="title">
          From nothing to a better program
        </h2>
        <p className="lead">
          The first agents need no language model and no key: they work offline, on your machine.
        </p>
      </div>
      <div className="min-w-0 overflow-hidden rounded-2xl border border-slate-200 bg-slate-50 dark:border-slate-800 dark:bg-slate-900">
        <div className="flex items-center justify-between border-b border-slate-200 py-2 pl-4 pr-1 sm:pl-5 sm:pr-2 dark:border-slate-800">
          <span className="text-sm font-medium text-slate-600 dark:text-slate-300">Shell</span>
          <button
            type="button"
            onClick={copy}
            className="rounded-lg px-3 py-2 text-sm font-semibold text-teal-800 hover:bg-slate-200 dark:text-teal-300 dark:hover:bg-slate-800"
          >
            <span aria-live="polite">{copied ? "Copied" : "Copy"}</span>
          </button>
        </div>
        <pre tabIndex={0} aria-label="Shell commands" className="overflow-x-auto p-4 text-[13px] leading-7 sm:p-5 sm:text-sm sm:leading-7">
          <code>
            {LINES.map((line, at) => (
              <Fragment key={at}>
                {line.map(([kind, text], part) => (
                  <span key={part} className={COLOURS[kind]}>
                    {text}
                  </span>
                ))}
                {at < LINES.length - 1 && "\n"}
              </Fragment>
            ))}
          </code>
        </pre>
      </div>
    </section>
  );
}
