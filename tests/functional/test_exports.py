"""Exports, each read back by a program it is for: Graphviz, networkx, DendroPy, phylotrackpy, Mermaid, XML parsers."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
import zlib
from dataclasses import replace
from pathlib import Path, PurePath

import dendropy
import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phylotrackpy import systematics
from playwright.sync_api import sync_playwright

from evogit.cli.main import run
from evogit.errors import UsageError
from evogit.phylogeny.folding import at_most, draw, everything
from evogit.phylogeny.formats import FORMATS, guess, render
from evogit.phylogeny.formats import json as json_format
from evogit.phylogeny.history import Facts, History, from_edges
from evogit.phylogeny.picture import Picture
from tests.conftest import run_git
from tests.functional.test_real_clis import installed

ROOT = Path(__file__).parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

HOSTILE = [
    "</title><script>alert(1)</script>",
    '"]; evil [label="x" URL="javascript:alert(1)',
    '\'=HYPERLINK("http://example.org")',
    "=cmd|' /C calc'!A0",
    "@SUM(1)",
    "line one\nline two\r\n\ttabbed",
    "\x00\x01\x1b[31m\ufffe\u202eend",
    "(((:::;;;,,,)))[&&NHX:S=9]#H1",
    "`markdown` **bold** <b>html</b> %%{init: {}}%% end click n0 callback",
    "&amp; &lt; &quot; ]]> <!-- -->",
    "half a pair \ud800",
    "漢字 é 🧬",
]


def graph() -> History:
    """Twelve commits with two crossovers; what people can write is hostile."""
    parents = [[], [0], [0], [1], [2], [3, 4], [1], [5], [5, 6], [8], [2], [9]]
    given = [
        Facts(
            agent=text[:20], host=text[:9], operator=text, model=text, definition=text, summary=text,
            score=at / 7 if at % 4 else None, status="ok" if at % 4 else "failed",
            decision="accepted" if at % 3 else "worse", milliseconds=1_748_736_000_000 + at * 1500, step=at,
            metrics={text: 0.1, "plain": float(at)}, cost=0.25, tokens=7,
        )
        for at, text in enumerate(HOSTILE)
    ]  # fmt: skip
    oids = [f"{at:02x}" * 20 for at in range(12)]
    living = frozenset({7, 11})
    promoted = {8: HOSTILE[0]}
    times = [fact.milliseconds for fact in given]
    return from_edges(
        oids, parents, times, given, living=living, promoted=promoted, pruned=frozenset({10}), base=0, best=11
    )


def picture(history: History | None = None, limit: int = 100) -> Picture:
    history = history or graph()
    selected = everything(history)
    return draw(history, selected, at_most(history, selected, limit), run="main", task=HOSTILE[0])


def text_of(name: str, made: Picture | None = None) -> str:
    return render(FORMATS[name], made or picture()).decode()


def needs(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"needs {program}, which is not installed")
    return found


def test_graphviz_reads_dot_and_sees_only_text() -> None:
    made = picture()
    done = subprocess.run([needs("dot"), "-Tjson0"], input=text_of("dot").encode(), capture_output=True, check=True)
    assert done.stderr == b""
    found = json.loads(done.stdout)
    assert [node["name"] for node in found["objects"]] == [node.oid for node in made.nodes]
    assert len(found["edges"]) == sum(len(node.links) for node in made.nodes)
    assert all("URL" not in node and "href" not in node for node in found["objects"])
    drawn = subprocess.run([needs("dot"), "-Tsvg"], input=text_of("dot").encode(), capture_output=True, check=True)
    tags = {element.tag.rpartition("}")[2] for element in ET.fromstring(drawn.stdout).iter()}
    assert "script" not in tags
    assert b"&lt;b&gt;html&lt;/b&gt;" in drawn.stdout


def test_networkx_reads_graphml_with_its_types() -> None:
    made = picture()
    found = nx.read_graphml(io.BytesIO(render(FORMATS["graphml"], made)))
    assert sorted(found.nodes) == sorted(node.oid for node in made.nodes)
    assert found.graph["run"] == "main"
    for node in made.nodes:
        attributes = found.nodes[node.oid]
        assert attributes.get("score") == node.score
        assert attributes["step"] == node.step
        assert attributes["metric plain"] == node.metrics["plain"]
        assert {a for a, b in found.edges if b == node.oid} == {made.nodes[link.parent].oid for link in node.links}
    assert found.nodes["00" * 20]["summary"] == HOSTILE[0]
    assert found.nodes["05" * 20]["summary"] == HOSTILE[5]


def test_networkx_reads_json_and_so_do_we() -> None:
    made = picture(limit=6)
    text = text_of("json", made)
    assert json_format.read(text) == made
    found = nx.node_link_graph(json.loads(text), edges="edges")
    assert len(found) == 6
    assert found.is_directed()
    assert found.graph["total"] == 12
    assert sum(record["folded"] for _, record in found.nodes(data=True)) + found.graph["elsewhere"] == 6


def test_json_of_something_else_is_refused() -> None:
    for text in ("{}", "[]", "no json", '{"graph": {"schema": "other-1"}}', '{"graph": 1, "nodes": [], "edges": []}'):
        with pytest.raises(UsageError):
            json_format.read(text)


def test_the_json_schema_is_documented() -> None:
    documented = (ROOT / "docs/exports.md").read_text()
    document = json.loads(text_of("json"))
    for key in {*document, *document["graph"], *document["nodes"][0], *document["edges"][0]}:
        assert f"`{key}`" in documented, f"docs/exports.md does not explain {key}"


def test_dendropy_reads_newick_and_hybrids_join_to_the_same_graph() -> None:
    made = picture()
    tree = dendropy.Tree.get(
        data=text_of("newick"), schema="newick", preserve_underscores=True, suppress_leaf_node_taxa=True
    )
    edges = set()
    for node in tree.preorder_node_iter():
        if node.parent_node is not None:
            edges.add((node.parent_node.label.partition("#")[0], node.label.partition("#")[0]))
            assert node.edge_length >= 1
    assert edges == {(made.nodes[link.parent].oid, node.oid) for node in made.nodes for link in node.links}
    hybrids = [node.label for node in tree.preorder_node_iter() if "#H" in node.label]
    assert sorted(hybrids) == ["05" * 20 + "#H1"] * 2 + ["08" * 20 + "#H2"] * 2
    scores = {node.label[:40]: node.annotations.get_value("S") for node in tree.preorder_node_iter()}
    assert float(scores["0b" * 20]) == pytest.approx(made.nodes[11].score, rel=1e-5)


def test_newick_of_a_long_lineage_and_of_several_roots() -> None:
    depth = 5_000
    history = from_edges([f"{at:040x}" for at in range(depth)], [[at - 1] if at else [] for at in range(depth)])
    assert text_of("newick", picture(history, depth)).count("(") == depth - 1
    history = from_edges(["aa" * 20, "bb" * 20, "cc" * 20], [[], [], [1]])
    tree = dendropy.Tree.get(data=text_of("newick", picture(history)), schema="newick", suppress_leaf_node_taxa=True)
    assert [node.label for node in tree.seed_node.child_nodes()] == ["aa" * 20, "bb" * 20]


def test_phylotrackpy_reads_alife(tmp_path: Path) -> None:
    history = graph()
    # phylotrackpy knows no second parents.
    parents = [history.parents(at)[:1] for at in range(len(history))]
    clonal = from_edges([history.oid(at) for at in range(len(history))], parents, facts=[Facts()] * len(history))
    (tmp_path / "run.csv").write_bytes(render(FORMATS["alife"], picture(clonal)))
    found = systematics.Systematics(lambda organism: organism, True, True, False, False)
    found.load_from_file(str(tmp_path / "run.csv"), "taxon_label")
    leaves = set(range(len(history))) - {parent for above in parents for parent in above}
    assert (found.get_num_taxa(), found.get_num_active(), found.get_num_roots()) == (12, len(leaves), 1)


def test_alife_keeps_to_the_standard() -> None:
    made = picture()
    rows = list(csv.DictReader(io.StringIO(text_of("alife"))))
    assert [row["id"] for row in rows] == [str(at) for at in range(12)]
    for row, node in zip(rows, made.nodes, strict=True):
        ancestors = json.loads(row["ancestor_list"].replace("NONE", ""))
        assert ancestors == [link.parent for link in node.links]
        assert float(row["origin_time"]) * 1000 == node.milliseconds - made.nodes[0].milliseconds


def test_no_cell_is_a_formula_and_every_row_is_whole() -> None:
    for name in ("csv", "alife"):
        table = list(csv.reader(io.StringIO(text_of(name))))
        assert len(table) == 13
        assert len({len(row) for row in table}) == 1
        for cell in (cell for row in table for cell in row):
            number = re.fullmatch(r"-?[\d.]+(e[+-]?\d+)?", cell)
            assert number or cell[:1] not in ("=", "+", "-", "@", "\t", "\r"), cell
            assert not re.search(r"[\x00-\x1f]", cell)


def test_svg_is_xml_with_nothing_but_shapes_and_text() -> None:
    root = ET.fromstring(text_of("svg"))
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert tags <= {"svg", "title", "desc", "style", "rect", "text", "circle", "path"}
    titles = " ".join(element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}title"))
    assert "<b>html</b>" in titles
    assert not [name for element in root.iter() for name in element.attrib if name.startswith("on") or "href" in name]


def test_png_is_a_picture() -> None:
    data = render(FORMATS["png"], picture())
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    at, packed = 8, b""
    while at < len(data):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        packed += data[at + 8 : at + 8 + size] if kind == b"IDAT" else b""
        at += 12 + size
    pixels = zlib.decompress(packed)
    assert len(pixels) == height * (width * 4 + 1)
    assert len(set(pixels)) > 20, "a blank picture"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_mermaid_draws_its_chart_and_labels_stay_text() -> None:
    script = "package/dist/mermaid.min.js"
    packed = ["npm", "pack", "--silent", "mermaid@11"], ["sh", "-c", f"tar xzf mermaid-*.tgz {script}"]
    mermaid = installed("mermaid", script, *packed) / "mermaid.min.js"
    if CHROMIUM is None:
        pytest.skip("needs chromium, which is not installed")
    made = picture()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_content("<body></body>")
        page.add_script_tag(path=str(mermaid))
        page.evaluate("mermaid.initialize({startOnLoad: false, securityLevel: 'strict'})")
        drawn = page.evaluate("async (text) => (await mermaid.render('chart', text)).svg", text_of("mermaid", made))
        page.set_content(drawn)
        shown = page.inner_text("body")
        assert page.evaluate("document.querySelectorAll('script, b, strong, a').length") == 0
        assert page.evaluate("document.querySelectorAll('.node').length") == len(made.nodes)
        assert page.evaluate("document.querySelectorAll('.edgePaths path').length") == sum(
            len(node.links) for node in made.nodes
        )
        # As many links as crossovers make, more than the renderer takes.
        many = picture(
            from_edges([f"{at:040x}" for at in range(500)], [[*range(max(0, at - 3), at)] for at in range(500)]), 500
        )
        chart = text_of("mermaid", many)
        drawn = page.evaluate("async (text) => (await mermaid.render('many', text)).svg", chart)
        assert "Maximum" not in drawn
        assert drawn.count("flowchart-link") == 501  # once in the style
        browser.close()
    assert "994 links of crossovers are not drawn" in chart
    assert "<b>html</b>" in shown
    assert "**bold**" in shown


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "png"])
def test_the_hostile_never_reach_a_file_raw(name: str) -> None:
    data = render(FORMATS[name], picture())
    data.decode("utf-8")
    assert b"\x1b" not in data
    if name in ("dot", "mermaid", "svg", "newick", "html"):
        assert "\u202eend" not in data.decode()
        assert b"<script>alert" not in data


@settings(deadline=None, max_examples=40)
@given(st.text(st.characters(exclude_categories=[]), max_size=40))
def test_any_text_at_all_leaves_every_file_readable(text: str) -> None:
    fact = Facts(agent=text, operator=text, status=text, decision=text, summary=text, metrics={text: 1.0})
    made = picture(
        from_edges(["aa" * 20, "bb" * 20], [[], [0]], facts=[fact, fact], promoted={1: text}, best=1, base=0)
    )
    assert json_format.read(text_of("json", made)) == made
    for name in ("svg", "graphml"):
        ET.fromstring(render(FORMATS[name], made))
    assert [len(row) for row in csv.reader(io.StringIO(text_of("csv", made)))] == [22] * 3
    tree = dendropy.Tree.get(data=text_of("newick", made), schema="newick", suppress_leaf_node_taxa=True)
    assert [node.label for node in tree.preorder_node_iter()] == ["aa" * 20, "bb" * 20]
    assert text_of("mermaid", made).count("\n") == 7
    assert text_of("dot", made).count("\n") == 8
    data = text_of("html", made).partition('id="data">')[2].partition("</script>")[0]
    assert "<" not in data
    assert json.loads(data)["nodes"]["summary"] == [text, text]


def test_same_graph_same_bytes_in_another_process(tmp_path: Path) -> None:
    program = (
        "import hashlib, sys; sys.path.insert(0, sys.argv[1])\n"
        "from evogit.phylogeny.formats import FORMATS, render\n"
        "from tests.functional.test_exports import picture\n"
        "for name, form in FORMATS.items(): print(name, hashlib.sha256(render(form, picture(limit=9))).hexdigest())\n"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program, str(ROOT)],
            env={**os.environ, "PYTHONHASHSEED": seed}, cwd=tmp_path, capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(seen) == 1
    assert len(seen.pop().splitlines()) == len(FORMATS)


def test_an_empty_selection_is_a_file_all_the_same() -> None:
    history = graph()
    nothing = everything(history) & False
    made = draw(history, nothing, nothing)
    for form in FORMATS.values():
        assert render(form, made)
    assert json_format.read(text_of("json", made)) == made


def test_scores_that_are_equal_or_alone_have_a_colour() -> None:
    made = picture()
    for score in (None, 1.0):
        flat = replace(made, nodes=tuple(replace(node, score=score) for node in made.nodes))
        ET.fromstring(text_of("svg", flat))


@pytest.mark.parametrize(
    ("file", "name"),
    [("a.svg", "svg"), ("A.HTML", "html"), ("x.alife.csv", "alife"), ("x.csv", "csv"), ("a.b/c.gv", "dot")],
)  # fmt: skip
def test_the_suffix_says_the_format(file: str, name: str) -> None:
    assert guess(PurePath(file)).name == name


def evogit(*arguments: str, at: Path) -> subprocess.CompletedProcess[bytes]:
    """One command line in this process: these tests say many, and starting Python is most of what one costs."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.chdir(at):
        code = run(list(arguments))
    said = [stream.buffer.getvalue() for stream in (out, err) if isinstance(stream.buffer, io.BytesIO)]
    return subprocess.CompletedProcess(arguments, code, *said)


@pytest.fixture
def branched(repo: Path) -> Path:
    """Plain history: a merge, a tag, and a hostile message."""
    run_git("checkout", "-q", "-b", "side", cwd=repo)
    run_git("commit", "-q", "--allow-empty", "-m", "=1+1 <script>alert(1)</script>", cwd=repo)
    run_git("checkout", "-q", "main", cwd=repo)
    run_git("commit", "-q", "--allow-empty", "-m", "On main", cwd=repo)
    run_git("merge", "-q", "--no-ff", "-m", "Merge side", "side", cwd=repo)
    run_git("tag", "v1.0", "main~1", cwd=repo)
    run_git("tag", "of-a-tree", "main^{tree}", cwd=repo)
    return repo


def test_a_stranger_s_repository_is_drawn_and_exported(branched: Path, tmp_path: Path) -> None:
    drawn = evogit("graph", "--all", at=branched)
    assert drawn.returncode == 0, drawn.stderr
    assert "Merge side" in drawn.stdout.decode()
    assert "4 commits" in drawn.stdout.decode()
    whole = json.loads(evogit("graph", "--json", at=branched).stdout)
    named = {node["summary"]: (node["names"], node["marks"]) for node in whole["nodes"] if node["names"]}
    assert named == {
        "Merge side": (["main"], ["living"]),
        "=1+1 <script>alert(1)</script>": (["side"], ["living"]),
        "On main": (["v1.0"], []),
    }
    for name, form in FORMATS.items():
        file = tmp_path / f"out{form.suffixes[0]}"
        done = evogit("export", "-o", str(file), "--json", at=branched)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["format"] == name
        assert json.loads(done.stdout)["shown"] == 4
        assert file.stat().st_size == json.loads(done.stdout)["bytes"]
    assert run_git("status", "--porcelain", cwd=branched) == ""


def test_the_newest_of_a_long_plain_history_is_shown_in_full(repo: Path) -> None:
    for at in range(60):
        run_git("commit", "-q", "--allow-empty", "-m", f"Step {at}", cwd=repo)
    run_git("tag", "old", "HEAD~40", cwd=repo)
    drawn = evogit("graph", at=repo).stdout.decode().splitlines()
    assert [line.rpartition("  ")[2] for line in drawn[2:-1]] == [f"Step {at}" for at in range(35, 60)]
    assert "First commit" in drawn[0]
    assert drawn[-1].startswith("26 of 61 commits, 35 folded")
    few = json.loads(evogit("graph", "--max-nodes", "3", "--json", at=repo).stdout)
    assert ["old"] in [node["names"] for node in few["nodes"]], "what a tag names comes before what nothing names"


def test_a_run_is_exported_with_its_facts(repo: Path) -> None:
    for words in (
        ["init", "--goal", "Answer 42", "--command", "python bench.py", "--evolve", "src/*.py"],
        ["run", "--candidates", "15", "--agents", "tinker:3", "--seed", "1", "--deterministic", "-q"],
    ):
        done = evogit(*words, at=repo)
        assert done.returncode == 0, done.stderr
    whole = json.loads(evogit("export", "--format", "json", at=repo).stdout)
    assert whole["graph"]["run"] == "main"
    assert whole["graph"]["task"] == "repo"
    kinds = [node["kind"] for node in whole["nodes"]]
    assert "start" in kinds or "best" in kinds
    accepted = json.loads(evogit("export", "--format", "json", "--accepted", at=repo).stdout)
    assert 0 < len(accepted["nodes"]) <= len(whole["nodes"])
    lineage = json.loads(evogit("export", "--format", "json", "--lineage", "best", at=repo).stdout)
    assert {node["id"] for node in lineage["nodes"]} <= {node["id"] for node in whole["nodes"]}
    few = json.loads(evogit("export", "--format", "json", "--max-nodes", "3", at=repo).stdout)
    assert len(few["nodes"]) + sum(node["folded"] for node in few["nodes"]) + few["graph"]["elsewhere"] == len(kinds)
    assert json.loads(evogit("graph", "--all", "--json", at=repo).stdout)["nodes"] == whole["nodes"]
    later = json.loads(evogit("export", "--format", "json", "--since", "2100-01-01", at=repo).stdout)
    assert later["nodes"] == []


def test_mistakes_say_what_to_type(branched: Path) -> None:
    for code, words, said in (
        (2, ["export"], "-o FILE"),
        (2, ["export", "-o", "x.unknown"], "--format"),
        (2, ["export", "--format", "word", "-o", "x"], "dot, graphml"),
        (1, ["export", "-o", "no/such/folder/x.svg"], "cannot be written"),
        (2, ["export", "-o", "x.svg", "--since", "someday"], "2h"),
        (2, ["export", "-o", "x.svg", "--lineage", "nonsense"], "no such commit"),
        (2, ["graph", "--run", "other"], "no run"),
        (2, ["graph", "--around", "best"], "no such commit"),
    ):
        done = evogit(*words, at=branched)
        assert done.returncode == code, (words, done.stderr)
        assert said in done.stderr.decode(), (words, done.stderr)
        assert b"Traceback" not in done.stderr
