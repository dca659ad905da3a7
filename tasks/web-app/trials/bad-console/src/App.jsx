import { useEffect } from "react";

export default function App() {
  useEffect(() => {
    Promise.reject(new Error("the news did not come"));
  }, []);
  return (
    <main>
      <h1>EvoGit</h1>
    </main>
  );
}
