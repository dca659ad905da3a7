const stroke = { fill: "none", stroke: "currentColor", strokeWidth: 1.8, strokeLinecap: "round", strokeLinejoin: "round" };

export function Logo({ className }) {
  return (
    <svg viewBox="0 0 32 32" className={className} aria-hidden="true">
      <rect width="32" height="32" rx="8" className="fill-teal-700 dark:fill-teal-600" />
      <path d="M11 8v16M11 18c0-6 10-3 10-9" stroke="#fff" strokeWidth="2.4" fill="none" strokeLinecap="round" />
      <circle cx="11" cy="7.5" r="2.6" fill="#fff" />
      <circle cx="11" cy="24.5" r="2.6" fill="#fff" />
      <circle cx="21" cy="8" r="2.6" fill="#fff" />
    </svg>
  );
}

export function Sun({ className }) {
  return (
    <svg viewBox="0 0 24 24" className={className} aria-hidden="true" {...stroke}>
      <circle cx="12" cy="12" r="4" />
      <path d="M12 3v2M12 19v2M3 12h2M19 12h2M5.6 5.6 7 7M17 17l1.4 1.4M5.6 18.4 7 17M17 7l1.4-1.4" />
    </svg>
  );
}

export function Moon({ className }) {
  return (
    <svg viewBox="0 0 24 24" className={className} aria-hidden="true" {...stroke}>
      <path d="M20 14.5A8.5 8.5 0 1 1 9.5 4a7 7 0 0 0 10.5 10.5Z" />
    </svg>
  );
}
