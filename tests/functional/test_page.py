"""The page in a real browser: it opens without network and errors, shows details, filters, and runs nothing foreign."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from evogit.phylogeny.curves import curves
from evogit.phylogeny.folding import at_most, draw, everything
from evogit.phylogeny.formats.html import Detail, render
from evogit.phylogeny.history import Facts, History, from_edges

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, which is not installed")]

EVIL = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
DOT = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJg"
    "gg=="
)
DIFF = f"--- a/f.py\n+++ b/f.py\n@@ -1,2 +1,2 @@\n def f():\n-    return 1  # {EVIL}\n+    return 'two'\n"


def run(count: int) -> History:
    """A run of `count` candidates by three agents, every sixth a crossover, one in three accepted; all text hostile."""
    tips = [0, 0, 0]
    parents: list[list[int]] = [[]]
    facts = [Facts(summary="Start", status="ok", score=0.0, milliseconds=1_600_000_000_000)]
    for at in range(1, count):
        who = at % 3
        other = tips[(who + 1) % 3]
        parents.append([tips[who], other] if at % 6 == 0 and other != tips[who] else [tips[who]])
        good = at % 9 < 3
        score = at / count if good else -at / count
        facts.append(
            Facts(
                agent=f"ant-{who}", host=f"host-{who % 2} {EVIL}", definition="ant", model="m",
                operator=("grow", "swap", EVIL)[at % 3], score=None if at % 7 == 0 and not good else score,
                metrics={EVIL: 1.5, "size": float(at)}, summary=f"{EVIL} {at}",
                status="failed" if at % 7 == 0 and not good else "ok", decision="accepted" if good else "worse",
                milliseconds=1_748_736_000_000 + at * 900, seconds=0.1, cost=0.01, tokens=9, step=at,
            )
        )  # fmt: skip
        if good:
            tips[who] = at
    best = max((at for at in range(count) if facts[at].decision == "accepted"), default=0)
    oids = [f"{at + 0xA000000:08x}" * 5 for at in range(count)]
    times = [fact.milliseconds for fact in facts]
    promoted = {parents[best][0]: EVIL} if count > 1 else {}
    return from_edges(oids, parents, times, facts, living=frozenset(tips), promoted=promoted, base=0, best=best)


def look(oid: str) -> Detail:
    message = f"{EVIL}\n\nWhy {oid[:8]}\n\nEvoGit-Agent: {EVIL}\nEvoGit-Operator: grow\n"
    pictures = {
        f"dot {EVIL}.png": DOT,
        "evil.png": 'x" onerror="window.hacked = 1',
        "page.html": f"data:text/html,{EVIL}",
    }
    told = DIFF, f"feedback {EVIL}", f"prompt {EVIL}", f"reply {EVIL}", f"stdout.txt {EVIL}"
    return Detail(message, *told, pictures)


def write(file: Path, history: History, limit: int) -> Path:
    selected = everything(history)
    picture = draw(history, selected, at_most(history, selected, limit), run=f"main {EVIL}", task=EVIL)
    file.write_text(render(picture, look, curves(history, selected)), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # A machine without a graphics card draws WebGL by SwiftShader.
        arguments = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield found
        found.close()


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    """The page of 90 candidates, opened from disk. Any message on the console, error or request fails the test."""
    context = browser.new_context(viewport={"width": 1300, "height": 1000}, color_scheme="light", offline=True)
    opened = context.new_page()
    trouble: list[str] = []
    opened.on("console", lambda message: trouble.append(f"{message.type}: {message.text}"))
    opened.on("pageerror", lambda error: trouble.append(str(error)))
    opened.on("request", lambda request: trouble.append(request.url) if request.url.startswith("http") else None)
    visit(opened, write(tmp_path / "page.html", run(90), 1000))
    yield opened
    assert opened.evaluate("window.hacked") is None
    assert opened.evaluate("document.querySelectorAll('img:not(.pictures img), iframe, object, embed').length") == 0
    context.close()
    assert trouble == []


def visit(page: Page, file: Path) -> None:
    page.goto(file.as_uri())
    page.wait_for_selector("html[data-ready=yes]")


def markers(page: Page) -> int:
    """How many nodes the plot holds."""
    return int(
        page.evaluate(
            "document.getElementById('plot').data.filter(t => t.customdata).flatMap(t => t.customdata).length"
        )
    )


def test_it_opens_and_draws_everything_with_webgl(page: Page) -> None:
    assert markers(page) == 90
    assert page.evaluate("document.getElementById('plot').data[0].type") == "scattergl"
    assert "90 commits" in page.inner_text("#counts")
    assert EVIL in page.inner_text("h1")
    for chart in ("best-chart", "operator-chart", "cost-chart"):
        assert page.evaluate(f"document.getElementById('{chart}').data.length") >= 1
    assert EVIL in page.evaluate("document.querySelector('#operator-chart .legend').textContent")


def test_a_click_on_a_node_opens_its_details(page: Page) -> None:
    spot = page.evaluate(
        """() => { const p = document.getElementById('plot'), l = p._fullLayout;
        const t = p.data.find(t => t.marker?.symbol === 'star');
        const r = p.querySelector('.nsewdrag').getBoundingClientRect();
        return [r.left + l.xaxis.l2p(t.x[0]), r.top + l.yaxis.l2p(t.y[0])]; }"""
    )
    page.mouse.move(spot[0] - 1, spot[1] - 1)
    page.mouse.move(*spot)
    page.wait_for_selector("#card:not([hidden])")
    assert "best" in page.inner_text("#card")
    page.mouse.click(*spot)
    page.wait_for_selector("#panel:not([hidden])")
    panel = page.inner_text("#panel")
    commands = ("evogit promote 0a0000", "evogit prune 0a0000")
    for said in (EVIL, "best", "ant-", "EvoGit-Operator", "size", "return 'two'", "feedback <script>", *commands):
        assert said in panel, said
    assert page.inner_text("#panel .row.add .s") == "'two'"
    assert page.inner_text("#panel .row.del .k") == "return"
    page.click("#panel summary:has-text('Prompt')")
    assert "prompt <script>" in page.inner_text("#panel")
    assert page.eval_on_selector_all("#panel img", "all => all.map(i => [i.alt, i.naturalWidth])") == [
        [f"dot {EVIL}.png", 1]
    ]
    page.click("#panel .pictures button")
    assert page.get_attribute("#panel .pictures button", "aria-expanded") == "true"


def test_zoom_pan_and_back(page: Page) -> None:
    def ranges() -> list[float]:
        found = page.evaluate(
            "(l => [...l.xaxis.range, ...l.yaxis.range])(document.getElementById('plot')._fullLayout)"
        )
        return [float(value) for value in found]

    def at_rest() -> list[float]:
        """Where the axes are once they have stopped moving: the wheel's last steps come after `wheel` has returned."""
        before: list[float] = []
        now = ranges()
        while now != before:
            page.wait_for_timeout(250)
            before, now = now, ranges()
        return now

    def after(gesture: Callable[[], None], reached: Callable[[list[float]], bool]) -> list[float]:
        """Where the axes rest after a gesture; a browser that is busy drawing may miss one, so it is made again."""
        for _ in range(6):
            gesture()
            for _ in range(20):
                if reached(found := at_rest()):
                    return found
        raise AssertionError(f"the page did not follow the mouse: {found}")

    def drag() -> None:
        page.mouse.move(left + 200, top + 150)
        page.mouse.down()
        page.mouse.move(left + 320, top + 230, steps=4)
        page.mouse.up()

    left, top = page.evaluate(
        "(r => [r.left, r.top])(document.querySelector('#plot .nsewdrag').getBoundingClientRect())"
    )

    def shift_drag() -> None:
        page.keyboard.down("Shift")
        drag()
        page.keyboard.up("Shift")

    def width(found: list[float]) -> float:
        return found[1] - found[0]

    whole = at_rest()
    zoomed = after(shift_drag, lambda found: whole[0] < found[0] < found[1] < whole[1])
    panned = after(drag, lambda found: found[0] < zoomed[0])
    assert width(panned) == pytest.approx(width(zoomed))
    after(lambda: page.mouse.wheel(0, 400), lambda found: width(found) > width(panned))
    after(lambda: page.mouse.dblclick(left + 200, top + 150), lambda found: found == pytest.approx(whole))


def test_filters_and_search(page: Page) -> None:
    page.select_option("#agent", "ant-1")
    assert markers(page) == 30
    assert "30 of 90" in page.inner_text("#matching")
    page.select_option("#state", "accepted")
    assert markers(page) == 10
    page.click("#reset")
    assert markers(page) == 90
    page.select_option("#operator", EVIL)
    assert markers(page) == 30
    page.click("#reset")
    page.fill("#find", " 89")
    page.wait_for_function("document.getElementById('matching').textContent.startsWith('1 of')")
    assert page.locator("#rows tr").count() == 1
    for choice in ("time", "generation"):
        page.select_option("#x", choice)
    page.click("#reset")
    for choice in ("score", "generation", "lane"):
        page.select_option("#y", choice)
    for choice in ("agent", "host", "operator", "decision", "score"):
        page.select_option("#colour", choice)
        assert markers(page) == 90


def test_light_and_dark(page: Page) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    page.click("#theme")
    assert page.evaluate(ground) == "rgb(21, 24, 28)"
    page.click("#theme")
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(ground) == "rgb(255, 255, 255)", "the choice wins over the system's"


def test_the_keyboard_alone_is_enough(page: Page) -> None:
    page.focus("#plot")
    page.keyboard.press("Home")
    assert "start" in page.inner_text("#said")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("End")
    assert "best" in page.inner_text("#said")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    page.wait_for_selector("#panel:not([hidden])")
    assert page.evaluate("document.activeElement.id") == "panel"
    page.keyboard.press("Escape")
    assert not page.is_visible("#panel")
    assert page.evaluate("document.activeElement.id") == "plot"
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "find"


def test_the_table_says_the_same(page: Page) -> None:
    assert page.locator("#rows tr").count() == 90
    assert EVIL in page.inner_text("#rows tr:last-child")
    page.click("#rows tr:last-child button")
    page.wait_for_selector("#panel:not([hidden])")
    named = "e.textContent || e.ariaLabel || e.labels?.length"
    controls = "[...document.querySelectorAll('button, select, input')]"
    assert page.evaluate(f"{controls}.filter(e => !({named})).length") == 0


def test_folding_says_what_is_not_shown(browser: Browser, tmp_path: Path) -> None:
    page = browser.new_page()
    visit(page, write(tmp_path / "page.html", run(3000), 50))
    assert "50 of 3,000 commits, 2,950 folded" in page.inner_text("#counts")
    assert markers(page) == 50
    page.close()


def test_plain_history_has_no_scores_and_no_curves(browser: Browser, tmp_path: Path) -> None:
    history = from_edges(["aa" * 20, "bb" * 20], [[], [0]], facts=[Facts(agent="Ada", summary="one")] * 2)
    picture = draw(history, everything(history), everything(history))
    (tmp_path / "page.html").write_text(render(picture))
    page = browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    visit(page, tmp_path / "page.html")
    assert markers(page) == 2
    assert not page.is_visible("#charts")
    page.focus("#plot")
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    page.wait_for_selector("#panel:not([hidden])")
    assert "git show bbbb" in page.inner_text("#panel")
    assert errors == []
    page.close()
