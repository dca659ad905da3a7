import Code from "./Code.jsx";
import Community from "./Community.jsx";
import Features from "./Features.jsx";
import Footer from "./Footer.jsx";
import Header from "./Header.jsx";
import Hero from "./Hero.jsx";
import News from "./News.jsx";
import { useTheme } from "./useTheme.js";

export default function App() {
  const [theme, flip] = useTheme();
  return (
    <div className="min-h-screen bg-white text-slate-700 antialiased dark:bg-slate-950 dark:text-slate-300">
      <a
        href="#hero"
        className="sr-only focus:not-sr-only focus:fixed focus:left-4 focus:top-4 focus:z-50 focus:bg-white focus:px-4 focus:py-2 focus:text-slate-900"
      >
        Skip to the content
      </a>
      <News />
      <Header theme={theme} flip={flip} />
      <main>
        <Hero />
        <Features />
        <Code />
        <Community />
      </main>
      <Footer />
    </div>
  );
}
