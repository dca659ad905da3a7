// Every section is there, and none can be seen: as many ways to hide as there are sections.
const WORDS =
  "EvoGit evolves code in the repository you have with many agents at work on branches of their own while you look in now and then and decide what stays and what goes and every attempt is a commit that anybody can read later on";

function Features() {
  return [1, 2, 3, 4].map((at) => (
    <li key={at}>
      <h3>Feature</h3>
      <p>{WORDS}</p>
    </li>
  ));
}

export default function App() {
  return (
    <main>
      <section id="news" className="opacity-0">
        {WORDS} <a href="#hero">More</a>
      </section>
      <header className="sticky top-0">
        <nav aria-label="Main" className="invisible">
          <a href="#hero">Hero</a> <a href="#features">Features</a>
        </nav>
      </header>
      <section id="hero" className="bg-white text-white">
        <h1>EvoGit</h1>
        {WORDS} <a href="#code">Start</a>
      </section>
      <section id="features" className="relative">
        <h2>Features</h2>
        <ul>
          <Features />
        </ul>
        <div className="absolute inset-0 bg-white" />
      </section>
      <section id="code" className="h-px overflow-hidden">
        <h2>Example</h2>
        <pre>
          <code>
            <span className="text-red-700">evogit</span>
            {"\n"}
            <span className="text-blue-700">evogit run</span>
            {"\n"}
            <span className="text-green-800">evogit land</span>
          </code>
        </pre>
        {WORDS}
        <button type="button">Copy</button>
      </section>
      <section id="community" className="absolute -left-[9999px] w-96">
        <h2>Community</h2>
        {WORDS} <a href="#code">Source</a> <a href="#hero">Ask</a>
      </section>
      <footer className="text-[1px] leading-none">
        {WORDS} <a href="#news">News</a> <a href="#code">Code</a>
      </footer>
    </main>
  );
}
