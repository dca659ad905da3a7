"""What is asked of a page, check by check: facts that the browser wrote down → what is wrong, in words to act on.

A check holds from its stage of the goal on. Its weight is its part of the score.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Facts = Mapping[str, Any]
WIDTHS = (375, 768, 1440)
BETWEEN = (531, 1023)
"""Widths at which only overflow is looked for."""
NAMES = {
    "news": ("#news", 1, 4),
    "nav": ("nav", 1, 3),
    "hero": ("#hero", 1, 12),
    "features": ("#features", 2, 40),
    "code": ("#code", 2, 12),
    "community": ("#community", 3, 12),
    "footer": ("footer", 3, 5),
}
"""Section → its selector, the stage it belongs to, and the fewest words that must be readable in it."""
INK = 40  # pixels that a section's words must change, for each word asked for: a word of 12 px has about 60
DARK, LIGHT = 0.35, 0.65  # mean brightness of a window or page, 0 to 1
HIGHLIGHTS = 3  # colours, each of at least 3 characters of the code


@dataclass(frozen=True)
class Check:
    """`find` says what is wrong, or nothing."""

    name: str
    stage: int
    weight: float
    find: Callable[[Facts, Mapping[str, Any]], str]


def section(facts: Facts, view: str, name: str) -> str:
    """What is wrong with one section in one view, as "375-dark"."""
    selector, _, fewest = NAMES[name]
    found = facts["views"][view]["sections"].get(name)
    if found is None:
        return f"there is no element {selector}"
    if not found["visible"]:
        return f"{selector} is not visible at {view}"
    if name != "nav" and found["words"] < fewest:
        return f"{selector} shows {found['words']} words at {view}, and at least {fewest} are asked for"
    ink = facts["views"][view].get("ink", {}).get(name)
    if ink is not None and name != "nav" and ink < INK * fewest:
        return f"the text of {selector} cannot be read at {view}: no contrast, or something lies over it"
    return ""


def present(name: str) -> Callable[[Facts, Mapping[str, Any]], str]:
    def find(facts: Facts, _: Mapping[str, Any]) -> str:
        wrong = first(section(facts, f"{width}-light", name) for width in reversed(WIDTHS))
        return wrong or CONTENTS[name](facts["views"]["1440-light"]["sections"][name])

    return find


def first(said: Any) -> str:
    return next((text for text in said if text), "")


def _hero(found: Mapping[str, Any]) -> str:
    if "h1" not in found["headings"]:
        return "#hero has no visible h1"
    return "" if found["links"] else "#hero has no link that calls to action"


def _nav(found: Mapping[str, Any]) -> str:
    return "" if found["label"] else "the first nav has no aria-label"


def _features(found: Mapping[str, Any]) -> str:
    if "h2" not in found["headings"]:
        return "#features has no visible h2"
    said = f"#features has {found['items']} features; at least 3 li or article, each with an h3 and a sentence"
    return "" if found["items"] >= 3 else said


def _code(found: Mapping[str, Any]) -> str:
    return "" if "h2" in found["headings"] else "#code has no visible h2"


def _community(found: Mapping[str, Any]) -> str:
    if "h2" not in found["headings"]:
        return "#community has no visible h2"
    hrefs = {link["href"] for link in found["links"] if len(link["text"]) > 1}
    return "" if len(hrefs) >= 2 else "#community has fewer than 2 links with a text"


def _footer(found: Mapping[str, Any]) -> str:
    return "" if len(found["links"]) >= 2 else "footer has fewer than 2 links"


def _news(found: Mapping[str, Any]) -> str:
    return "" if found["links"] else "#news has no link to read more"


CONTENTS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "news": _news, "nav": _nav, "hero": _hero, "features": _features, "code": _code, "community": _community,
    "footer": _footer,
}  # fmt: skip


def quiet(facts: Facts, _: Mapping[str, Any]) -> str:
    return "the console says: " + " | ".join(facts["errors"][:3]) if facts["errors"] else ""


def contained(facts: Facts, _: Mapping[str, Any]) -> str:
    return "requests that cannot be answered: " + "; ".join(facts["requests"][:3]) if facts["requests"] else ""


def described(facts: Facts, _: Mapping[str, Any]) -> str:
    head = facts.get("head", {})
    if "evogit" not in head.get("title", "").lower():
        return "the title does not name EvoGit"
    if len(head.get("description", "")) < 40:
        return "index.html has no <meta name=description> of at least 40 characters"
    return "" if head.get("h1") == 1 else f"the page has {head.get('h1')} h1 elements, and should have one"


def accessible(impacts: tuple[str, ...]) -> Callable[[Facts, Mapping[str, Any]], str]:
    def find(facts: Facts, _: Mapping[str, Any]) -> str:
        found = {}
        for view, seen in facts["views"].items():
            for one in seen.get("axe", ()):
                if one["impact"] in impacts:
                    where = f" at {one['where'][0]}" if one["where"] else ""
                    why = f" ({one['why']})" if one["why"] else ""
                    found.setdefault(one["id"], f"axe {one['id']}, {view}: {one['help']}{why}{where}")
        return "; ".join(list(found.values())[:4])

    return find


def fits(width: int, also: tuple[int, ...] = ()) -> Callable[[Facts, Mapping[str, Any]], str]:
    def find(facts: Facts, _: Mapping[str, Any]) -> str:
        seen = {width: facts["views"][f"{width}-light"]["overflow"]}
        seen |= {other: facts.get("between", {}).get(str(other), {"width": other, "scroll": 10**6}) for other in also}
        for at, said in seen.items():
            if said["scroll"] > said["width"] + 1:
                who = f": {said['wide'][0]}" if said.get("wide") else ""
                return f"at {at} px the page is {said['scroll']} px wide and scrolls sideways{who}"
            if said["wide"]:
                return f"at {at} px something is cut off: {said['wide'][0]}"
        return ""

    return find


def sticky(facts: Facts, _: Mapping[str, Any]) -> str:
    seen = facts["deeds"].get("scrolled", {})
    if not seen.get("found"):
        return "there is no nav outside the footer"
    if seen["by"] < 200:
        return "the page is too short to scroll at 1440 px, so nothing shows that the navigation stays"
    stays = -2 <= seen["top"] <= 60 and seen["over"] and seen["height"] < 220
    return "" if stays else "after scrolling, the navigation is not at the top of the window (position: sticky; top: 0)"


def anchors(facts: Facts, _: Mapping[str, Any]) -> str:
    seen = facts["deeds"].get("scrolled", {})
    links = seen.get("links", [])
    if len({link["href"] for link in links}) < 2:
        return "nav has fewer than 2 links to sections of the page (href=#features and the like)"
    for link in links:
        if not link["target"]:
            return f"nav links to {link['href']}, and no element has this id"
    for href, jump in facts["deeds"].get("jumps", {}).items():
        if not jump["pressed"]:
            return f"the link {href} in nav cannot be pressed at 1440 px"
        if jump["top"] is None or (jump["top"] > jump["height"] * 0.6 and not jump["last"]):
            return f"pressing {href} in nav does not bring the section into the window"
        if jump["top"] < jump["under"] - 12:
            return f"after pressing {href}, the section begins under the navigation: give it scroll-margin-top"
    return ""


def small(facts: Facts, _: Mapping[str, Any]) -> str:
    deed = facts["deeds"].get("small", {})
    if "button" not in deed:
        return "" if deed.get("before") else "there is no nav"
    button = deed.get("button", {})
    if not button.get("visible") or not button.get("free"):
        return 'at 375 px neither all links nor a button (aria-label "Open menu") can be seen in the navigation'
    if button.get("expanded") != "false" or deed.get("expanded") != "true":
        return "the menu's button does not turn aria-expanded from false to true when it is pressed"
    hidden = [link["href"] for link in deed["after"]["links"] if not link["seen"]]
    return f"at 375 px, with the menu open, the link {hidden[0]} cannot be reached" if hidden else ""


def highlighted(facts: Facts, _: Mapping[str, Any]) -> str:
    if wrong := section(facts, "1440-light", "code"):
        return wrong
    for theme in ("light", "dark"):
        code = facts["views"][f"1440-{theme}"]["code"]
        if not code["found"] or code["lines"] < 3:
            return "#code has no pre > code of at least 3 lines"
        colours = [colour for colour, letters in code["colours"].items() if letters >= 3]
        if len(colours) < HIGHLIGHTS:
            return f"the code has {len(colours)} colours in the {theme} theme, and at least {HIGHLIGHTS} are asked for"
    return ""


def copied(facts: Facts, _: Mapping[str, Any]) -> str:
    deeds = facts["deeds"]
    button = deeds.get("copy", {})
    if not button.get("visible") or not button.get("free"):
        return "#code has no button named Copy that can be pressed"
    code = facts["views"]["1440-light"]["code"]
    wanted, got = code.get("text", "").strip(), deeds.get("clipboard", "").strip()
    if not wanted or got != wanted:
        return f"pressing Copy does not put the code on the clipboard: there is {got[:60]!r}"
    said = "copied" in deeds.get("copied", "").lower()
    return "" if said else 'after pressing Copy nothing says "Copied"'


def dark(facts: Facts, _: Mapping[str, Any]) -> str:
    for width in WIDTHS:
        bright = facts["views"][f"{width}-light"]["brightness"]
        if bright < LIGHT:
            return f"at {width} px the light theme is dark: mean brightness {bright:.2f}"
        bright = facts["views"][f"{width}-dark"]["brightness"]
        if bright > DARK:
            return f"at {width} px, prefers-color-scheme: dark, the page stays light: mean brightness {bright:.2f}"
    return ""


def legible(facts: Facts, settings: Mapping[str, Any]) -> str:
    """In the dark at the smallest width the sections are there, too, and can be read."""
    wanted = [name for name, (_, stage, _) in NAMES.items() if stage <= settings["stage"]]
    return dark(facts, settings) or first(section(facts, "375-dark", name) for name in wanted)


def toggled(facts: Facts, _: Mapping[str, Any]) -> str:
    deed = facts["deeds"].get("toggle", {})
    button = deed.get("button", {})
    if not button.get("visible") or not button.get("free"):
        return 'no button whose name has "theme" or "dark" can be pressed at 1440 px'
    if deed["before"] < LIGHT or deed["after"] > DARK:
        return f"pressing the theme's button takes the brightness from {deed['before']:.2f} to {deed['after']:.2f}"
    return "" if deed.get("back", 0) > LIGHT else "pressing the theme's button again does not bring the light back"


def remembered(facts: Facts, settings: Mapping[str, Any]) -> str:
    wrong = toggled(facts, settings)
    kept = wrong or facts["deeds"]["toggle"].get("reloaded", 1) <= DARK
    return wrong if wrong else "" if kept else "the theme that was chosen is forgotten when the page is loaded again"


def light_weight(kind: str) -> Callable[[Facts, Mapping[str, Any]], str]:
    def find(facts: Facts, settings: Mapping[str, Any]) -> str:
        size, most = facts["bytes"][kind], settings["most"][kind]
        return f"{size:,} bytes of {kind}, and {most:,} are allowed" if size > most else ""

    return find


def few_elements(facts: Facts, settings: Mapping[str, Any]) -> str:
    count, most = facts.get("head", {}).get("elements", math.inf), settings["most"]["elements"]
    return f"the page has {count} elements, and {most} are allowed" if count > most else ""


CHECKS = (
    Check("no errors in the console", 1, 3, quiet),
    Check("nothing from elsewhere", 1, 1, contained),
    Check("title and description", 1, 1, described),
    Check("accessible", 1, 3, accessible(("critical", "serious"))),
    Check("accessible, in detail", 1, 1, accessible(("moderate", "minor"))),
    Check("fits 375 px", 1, 2, fits(375, BETWEEN[:1])),
    Check("fits 768 px", 1, 1, fits(768, BETWEEN[1:])),
    Check("fits 1440 px", 1, 1, fits(1440)),
    Check("weight of scripts", 1, 1, light_weight("js")),
    Check("weight of styles", 1, 1, light_weight("css")),
    Check("weight in all", 1, 1, light_weight("total")),
    Check("number of elements", 1, 1, few_elements),
    *(Check(f"section {name}", stage, 3, present(name)) for name, (_, stage, _) in NAMES.items()),
    Check("navigation stays", 1, 2, sticky),
    Check("navigation leads", 1, 2, anchors),
    Check("navigation at 375 px", 1, 2, small),
    Check("code is highlighted", 2, 2, highlighted),
    Check("copy button", 2, 2, copied),
    Check("dark by preference", 4, 3, dark),
    Check("dark is legible", 4, 2, legible),
    Check("dark by a button", 4, 3, toggled),
    Check("theme is remembered", 4, 1, remembered),
)
