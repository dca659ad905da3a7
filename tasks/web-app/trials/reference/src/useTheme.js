import { useEffect, useState } from "react";

const KEY = "theme";

function chosen() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // storage may be switched off
  }
}

function wished() {
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

/** The theme in force and how to change it: the visitor's choice, or else what the system prefers. */
export function useTheme() {
  const [theme, setTheme] = useState(() => chosen() ?? wished());

  useEffect(() => {
    document.documentElement.classList.toggle("dark", theme === "dark");
    document.documentElement.style.colorScheme = theme;
  }, [theme]);

  useEffect(() => {
    const query = matchMedia("(prefers-color-scheme: dark)");
    const follow = () => chosen() === null && setTheme(wished());
    query.addEventListener("change", follow);
    return () => query.removeEventListener("change", follow);
  }, []);

  const flip = () => {
    const next = theme === "dark" ? "light" : "dark";
    setTheme(next);
    try {
      localStorage.setItem(KEY, next);
    } catch {
      // the choice then lasts as long as the page
    }
  };

  return [theme, flip];
}
