import Tree from "./Tree.jsx";

export default function Hero() {
  return (
    <section id="hero" aria-labelledby="hero-title" className="wrap grid items-center gap-12 py-16 sm:py-24 lg:grid-cols-2">
      <div>
        <h1
          id="hero-title"
          className="text-balance text-4xl font-bold leading-tight tracking-tight text-slate-900 sm:text-5xl sm:leading-tight lg:text-6xl lg:leading-[1.1] dark:text-white"
        >
          Your code, evolved in&nbsp;Git
        </h1>
        <p className="mt-6 max-w-xl text-pretty text-lg leading-8 text-slate-600 dark:text-slate-300">
          Many coding agents work at once, each on a branch of its own. Every attempt is a commit. What scores better
          lives on, and you look in now and then to prune or promote.
        </p>
        <div className="mt-9 flex flex-col gap-3 text-center sm:flex-row sm:gap-4">
          <a
            href="#code"
            className="rounded-lg border border-transparent bg-teal-700 px-5 py-3 font-semibold text-white hover:bg-teal-800 dark:bg-teal-300 dark:text-teal-950 dark:hover:bg-teal-200"
          >
            Start a first run
          </a>
          <a
            href="#features"
            className="rounded-lg border border-slate-300 px-5 py-3 font-semibold text-slate-900 hover:bg-slate-100 dark:border-slate-600 dark:text-white dark:hover:bg-slate-800"
          >
            How it works
          </a>
        </div>
      </div>
      <Tree className="w-full" />
    </section>
  );
}
