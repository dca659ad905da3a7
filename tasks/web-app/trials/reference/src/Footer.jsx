import { Logo } from "./icons.jsx";

const LINKS = [
  ["#features", "Features"],
  ["#code", "Example"],
  ["https://arxiv.org/abs/2506.02049", "The paper"],
  ["https://example.org/evogit", "Source"],
];

export default function Footer() {
  return (
    <footer className="border-t border-slate-200 dark:border-slate-800">
      <div className="wrap flex flex-col gap-6 py-10 text-sm lg:flex-row lg:items-center lg:justify-between">
        <p className="flex items-center gap-3 text-slate-600 dark:text-slate-300">
          <Logo className="h-6 w-6 shrink-0" />
          EvoGit is free software under the Apache License 2.0.
        </p>
        <ul className="flex flex-wrap gap-x-6 gap-y-2">
          {LINKS.map(([href, name]) => (
            <li key={href}>
              <a href={href} className="inline-block py-1 text-slate-700 underline-offset-4 hover:underline dark:text-slate-200">
                {name}
              </a>
            </li>
          ))}
        </ul>
      </div>
    </footer>
  );
}
