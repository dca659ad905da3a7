export default function App() {
  const news = "EvoGit builds websites";
  return (
    <main>
      <h1>EvoGit</h1>
    </main>
  );
}
