export default function News() {
  return (
    <section id="news" aria-label="News" className="bg-teal-800 text-teal-50 dark:bg-teal-950 dark:text-teal-100">
      <p className="wrap py-2.5 text-center text-sm">
        New: tasks for whole websites, judged in a real browser.{" "}
        <a href="#features" className="whitespace-nowrap font-semibold underline underline-offset-4 hover:text-white">
          See what it does
        </a>
      </p>
    </section>
  );
}
