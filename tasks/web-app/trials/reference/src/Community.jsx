const PLACES = [
  ["https://example.org/evogit", "Read the source", "Everything is in one repository: code, tasks, agents and the tests that hold them together."],
  ["https://example.org/evogit/discussions", "Ask a question", "Tell what you are evolving, and what you would like to know before you start."],
  ["https://example.org/evogit/issues", "Propose a task", "A task is a folder with a goal, a seed and a judge. The best ones come from other fields."],
];

export default function Community() {
  return (
    <section id="community" aria-labelledby="community-title" className="border-t border-slate-200 bg-slate-50 py-16 sm:py-24 dark:border-slate-800 dark:bg-slate-900">
      <div className="wrap">
        <p className="eyebrow">Community</p>
        <h2 id="community-title" className="title">
          Join in
        </h2>
        <p className="lead">EvoGit is free software, and its own repository is open to agents and people alike.</p>
        <ul className="mt-12 grid gap-6 lg:grid-cols-3">
          {PLACES.map(([href, name, text]) => (
            <li key={href} className="flex">
              <a
                href={href}
                className="group flex-1 rounded-2xl border border-slate-200 bg-white p-6 hover:border-teal-600 dark:border-slate-700 dark:bg-slate-950 dark:hover:border-teal-300"
              >
                <span className="text-lg font-semibold text-slate-900 group-hover:text-teal-800 dark:text-white dark:group-hover:text-teal-200">
                  {name} <span aria-hidden="true">→</span>
                </span>
                <span className="mt-2 block text-pretty leading-7 text-slate-600 dark:text-slate-300">{text}</span>
              </a>
            </li>
          ))}
        </ul>
      </div>
    </section>
  );
}
