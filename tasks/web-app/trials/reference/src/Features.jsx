const FEATURES = [
  ["Git is the database", "Commits are the versions and branches the population. There is no server to run, and a clone holds the whole experiment."],
  ["Agents that do not wait", "Each agent proposes, merges and measures at its own pace. Add a machine, and it joins by fetching the repository."],
  ["A judge kept apart", "Candidates run in a sandbox without network. Tests and benchmarks never come from the candidate."],
  ["You decide, when you like", "Prune a lineage, promote a version or give advice. Running agents take it to heart within seconds."],
  ["Nothing is lost", "Failed attempts stay on record with what the evaluator said, so that nobody pays twice for the same idea."],
  ["A small change in the end", "What you land is one clean commit with only the lines that matter for the gain."],
];

export default function Features() {
  return (
    <section id="features" aria-labelledby="features-title" className="border-y border-slate-200 bg-slate-50 py-16 sm:py-24 dark:border-slate-800 dark:bg-slate-900">
      <div className="wrap">
        <p className="eyebrow">Features</p>
        <h2 id="features-title" className="title">
          Evolution with the tools you have
        </h2>
        <p className="lead">A population of programs, kept where programs live anyway.</p>
        <ul className="mt-12 grid gap-x-10 gap-y-10 sm:grid-cols-2 lg:grid-cols-3">
          {FEATURES.map(([name, text]) => (
            <li key={name} className="border-l-2 border-teal-600 pl-5 dark:border-teal-400">
              <h3 className="text-lg font-semibold text-slate-900 dark:text-white">{name}</h3>
              <p className="mt-2 text-pretty leading-7 text-slate-600 dark:text-slate-300">{text}</p>
            </li>
          ))}
        </ul>
      </div>
    </section>
  );
}
