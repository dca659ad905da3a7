// Sideways scrolling is forbidden, and hiding it does not make the text readable.
export default function App() {
  return (
    <main className="overflow-x-hidden">
      <h1>EvoGit</h1>
      <p className="w-[1500px] whitespace-nowrap text-right">Code that evolves in the repository that you have.</p>
    </main>
  );
}
