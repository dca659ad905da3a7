"""Draw Markdown documents: every construct that the library knows, nested, and now and then broken."""

from __future__ import annotations

import random
import re
import string
from collections.abc import Callable

TEXT = (
    "alpha beta gamma delta when which of the a an to in is are was river mountain value branch merge commit index "
    "population lineage tree parser token Straße naïve 東京 x1 v2.0 3.14 snake_case_name AT&T &copy; &#169; &nope; "
    "foo@bar "
    '2*3 C++ (note) [sic] it\'s "quoted" end.'
)
WORDS = TEXT.split()
PLAIN = re.compile(r"\b(?:" + "|".join(filter(re.compile("[a-z]+").fullmatch, WORDS)) + r")\b")
LANGUAGES = ("", "python", "c", "text title=x", "js {1,2}")
MARKS = ("==", "^^", "~~", ">!", "!<", "$", "~", "^")
BREAKS = "*_`[]()<>!#-+=|~$^\\&\"' \n\t"


def document(rng: random.Random, size: int) -> str:
    """At least `size` characters of blocks."""
    blocks: list[str] = []
    so_far = 0
    while so_far < size:
        blocks.append(block(rng, 0))
        so_far += len(blocks[-1])
    text = "\n\n".join(blocks) + "\n" + "".join(f"[ref{n}]: <http://e.x/{n}> 'title {n}'\n" for n in range(4))
    return text + "\n[^1]: A note with *emphasis*.\n\n[^long]: Another one\n    with `code`.\n"


def broken(rng: random.Random, text: str) -> str:
    """`text` with a few characters lost, doubled, or put where they do not belong."""
    characters = list(text)
    for _ in range(rng.randint(1, 1 + len(text) // 60)):
        at = rng.randrange(len(characters))
        characters[at] = rng.choice(("", characters[at] * 2, rng.choice(BREAKS), characters[at] + rng.choice(BREAKS)))
    return "".join(characters)


def respelt(rng: random.Random, text: str) -> str:
    """`text` with other letters in its plain words: as long, of the same form and as much work, but not the same."""
    return PLAIN.sub(lambda found: "".join(rng.choices(string.ascii_lowercase, k=len(found[0]))), text)


def words(rng: random.Random, least: int = 2, most: int = 12) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(least, most)))


def inline(rng: random.Random, depth: int = 0) -> str:
    """A few pieces of a line or more."""
    return " ".join(piece(rng, depth) for _ in range(rng.randint(2, 6)))


def piece(rng: random.Random, depth: int) -> str:
    if depth > 2 or rng.random() < 0.45:
        return words(rng)
    inner = inline(rng, depth + 1) if rng.random() < 0.5 else words(rng, 1, 4)
    number = rng.randrange(6)
    return rng.choice(
        (
            f"*{inner}*",
            f"**{inner}**",
            f"***{inner}***",
            f"_{inner}_",
            f"__{inner}__",
            f"~~{inner}~~",
            f"`{words(rng, 1, 3)}`",
            f"`` {words(rng, 1, 3)} ` {words(rng, 1, 2)} ``",
            f'[{inner}](http://example.com/{number}?a=b&c=d "A {number}")',
            f"[{inner}](</a b/{number}>)",
            f"[{inner}][ref{number}]",
            f"[ref{number}]",
            f"![{inner}](/image-{number}.png)",
            f"![{words(rng, 1, 2)}][ref{number}]",
            f"[x](javascript:alert({number}))",
            f"<http://auto.example/{number}>",
            f"<someone{number}@example.com>",
            f'<span class="c{number}">{inner}</span>',
            f"<!-- {words(rng, 1, 3)} -->",
            f"\\*{words(rng, 1, 2)}\\* \\[ \\\\ \\`",
            f"{words(rng, 1, 3)}  \n{words(rng, 1, 3)}",
            f"{words(rng, 1, 3)}\\\n{words(rng, 1, 3)}",
            f"{words(rng, 1, 3)}\n{words(rng, 1, 3)}",
            f"{words(rng, 1, 2)}[^1] [^long] [^missing]",
            f"https://bare.example/{number} and HTML",
            f"${words(rng, 1, 2)}$",
            f"{(mark := rng.choice(MARKS))}{words(rng, 1, 2)}{mark}",
            f"[{words(rng, 1, 1)}(note)]",
        )
    )


def block(rng: random.Random, depth: int) -> str:
    """One block, which may hold others."""
    plain: tuple[Callable[[random.Random], str], ...] = (
        inline, inline, inline, inline, heading, code, table, html, rule, definition, mathematics, reference,
    )  # fmt: skip
    if depth > 2 or rng.random() < 0.7:
        return rng.choice(plain)(rng)
    return rng.choice((items, items, quote))(rng, depth)


def heading(rng: random.Random) -> str:
    if rng.random() < 0.7:
        return f"{'#' * rng.randint(1, 7)} {inline(rng, 2)}{rng.choice(('', ' ##'))}"
    return f"{words(rng)}\n{rng.choice('=-') * rng.randint(1, 9)}"


def code(rng: random.Random) -> str:
    lines = [f"{' ' * rng.choice((0, 4))}if {words(rng, 1, 3)} < 3 && x:" for _ in range(rng.randint(1, 6))]
    if rng.random() < 0.3:
        return "\n".join("    " + line for line in lines)
    fence = rng.choice(("```", "````", "~~~"))
    return "\n".join((f"{' ' * rng.choice((0, 0, 2))}{fence}{rng.choice(LANGUAGES)}", *lines, fence))


def table(rng: random.Random) -> str:
    wide = rng.randint(2, 4)
    rule_ = " | ".join(rng.choice(("---", ":--", "--:", ":-:")) for _ in range(wide))
    rows = [" | ".join(words(rng, 1, 2).replace("|", "") for _ in range(wide)) for _ in range(rng.randint(2, 5))]
    lines = [rows[0], rule_, *rows[1:]]
    return "\n".join(f"| {line} |" for line in lines) if rng.random() < 0.6 else "\n".join(lines)


def html(rng: random.Random) -> str:
    return rng.choice(
        (
            f"<div id='a'>\n{words(rng)}\n</div>",
            f"<details>\n<summary>{words(rng)}</summary>\n\n{inline(rng)}\n\n</details>",
            f"<!-- {words(rng)}\n\n{words(rng)} -->",
            f"<pre>\n{words(rng)}\n\n*{words(rng)}*</pre>",
            f"<x-y a='b'>\n{words(rng)}",
            "<?php echo 1; ?>",
        )
    )


def rule(rng: random.Random) -> str:
    return rng.choice(("---", "***", "_ _ _", "- - -", "-----"))


def definition(rng: random.Random) -> str:
    return f"{words(rng, 1, 2)}\n: {inline(rng)}\n: {words(rng)}\n\n*[HTML]: Hyper Text\n"


def mathematics(rng: random.Random) -> str:
    return f"$$\n{words(rng)}\n$$"


def reference(rng: random.Random) -> str:
    return f'[{words(rng, 1, 2)}]: /u/{rng.randrange(9)} "{words(rng, 1, 2)}"\n[ref{rng.randrange(6)}]: /again'


def quote(rng: random.Random, depth: int) -> str:
    text = "\n\n".join(block(rng, depth + 1) for _ in range(rng.randint(1, 3)))
    lines = [f"> {line}".rstrip() for line in text.split("\n")]
    return "\n".join(lines) + (f"\n{words(rng)}" if rng.random() < 0.3 else "")


def items(rng: random.Random, depth: int) -> str:
    start, style = rng.randint(0, 12), rng.choice("*-+.)")
    loose = rng.random() < 0.3
    out = []
    for number in range(rng.randint(2, 6)):
        marker = f"{start + number}{style}" if style in ".)" else style
        text = rng.choice(("", "", "[ ] ", "[x] ")) + inline(rng, 1)
        if rng.random() < 0.3:
            text += rng.choice(("\n", "\n\n")) + block(rng, depth + 1)
        first, *rest = text.split("\n")
        indent = " " * (len(marker) + 1)
        out.append("\n".join([f"{marker} {first}", *(f"{indent}{line}".rstrip() for line in rest)]))
    return ("\n\n" if loose else "\n").join(out)
