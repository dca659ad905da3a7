import { useState } from "react";
import { Logo, Moon, Sun } from "./icons.jsx";

const LINKS = [
  ["#features", "Features"],
  ["#code", "Example"],
  ["#community", "Community"],
];

const BUTTON =
  "inline-flex h-10 items-center justify-center rounded-lg border border-slate-200 text-slate-700 hover:bg-slate-100 dark:border-slate-700 dark:text-slate-200 dark:hover:bg-slate-800";

export default function Header({ theme, flip }) {
  const [open, setOpen] = useState(false);
  return (
    <header className="sticky top-0 z-40 border-b border-slate-200 bg-white dark:border-slate-800 dark:bg-slate-950">
      <nav aria-label="Main" className="wrap flex flex-wrap items-center gap-x-8 py-3">
        <a href="#hero" className="flex items-center gap-2 text-lg font-bold text-slate-900 dark:text-white">
          <Logo className="h-7 w-7" />
          EvoGit
        </a>
        <div className="ml-auto flex items-center gap-2 sm:order-3 sm:ml-0">
          <button type="button" onClick={flip} aria-label={theme === "dark" ? "Light theme" : "Dark theme"} className={`${BUTTON} w-10`}>
            {theme === "dark" ? <Sun className="h-5 w-5" /> : <Moon className="h-5 w-5" />}
          </button>
          <button
            type="button"
            onClick={() => setOpen(!open)}
            aria-expanded={open}
            aria-controls="links"
            aria-label={open ? "Close menu" : "Open menu"}
            className={`${BUTTON} px-3 text-sm font-medium sm:hidden`}
          >
            {open ? "Close" : "Menu"}
          </button>
        </div>
        <ul
          id="links"
          className={`${open ? "flex" : "hidden"} w-full flex-col pb-1 pt-3 sm:ml-auto sm:flex sm:w-auto sm:flex-row sm:gap-6 sm:p-0`}
        >
          {LINKS.map(([href, name]) => (
            <li key={href}>
              <a
                href={href}
                onClick={() => setOpen(false)}
                className="block py-2.5 font-medium text-slate-700 hover:text-teal-700 sm:py-0 dark:text-slate-200 dark:hover:text-teal-300"
              >
                {name}
              </a>
            </li>
          ))}
        </ul>
      </nav>
    </header>
  );
}
