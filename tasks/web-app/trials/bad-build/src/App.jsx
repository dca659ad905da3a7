import Hero from "./Hero.jsx";

export default function App() {
  return (
    <main>
      <Hero />
    </main>
  );
}
