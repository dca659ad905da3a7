"""What stands in a model's reply apart from its edits: thoughts, fences, paths, line numbers, omissions, refusals.

Nothing here knows a reply format. Every pattern runs on short lines only, so that no reply can make one take long.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from evogit.errors import VariationError
from evogit.values import Reason

SHORT = 1000  # characters beyond which a line is text, never a mark, a path or a command


class ReplyError(VariationError):
    """A reply that cannot be used. Its message says what would help the model."""

    def __init__(self, message: str, reason: Reason) -> None:
        super().__init__(message, reason.value)


@dataclass(frozen=True, slots=True)
class Limits:
    """`reply` and `file` in bytes, `files` and `edits` in one reply."""

    reply: int = 1 << 20
    file: int = 1 << 20
    files: int = 50
    edits: int = 200


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: the info string, the last non-blank line before it, its text, and whether it was closed."""

    info: str
    before: str
    text: str
    closed: bool = True


_THOUGHT = re.compile(r"^[ \t]{0,8}<(think|thinking|thought|reasoning)>", re.MULTILINE | re.IGNORECASE)
_THOUGHT_ENDS = re.compile(r"</(?:think|thinking|thought|reasoning)>", re.IGNORECASE)
_LONELY_END = re.compile(r"^[ \t]{0,8}</(?:think|thinking)>[ \t]{0,8}$", re.MULTILINE | re.IGNORECASE)
_FINAL_CHANNEL = "<|channel|>final<|message|>"  # gpt-oss, when a server does not take its thoughts out
_STOPS = ("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end|>", "<|return|>", "</s>", "<｜end▁of▁sentence｜>")
_SURROGATES = dict.fromkeys(range(55296, 57344), "�")
_FENCE = re.compile(r"^([ \t]{0,12})(`{3,}|~{3,})[ \t]*([^`]*)$")
_SORRY = re.compile(
    r"\b(?:I(?:['’]m| am) (?:very |really |deeply |so )?(?:sorry|unable|not able|afraid)"
    r"|I (?:cannot|can['’]t|can not|won['’]t|will not|am not allowed to|must decline|decline)|we cannot"
    r"|I apologi[sz]e|as an AI|(?:^|\W)sorry,? (?:but )?I|unable to (?:help|assist|comply|fulfil+))\b"
    r"|对不起|抱歉|无法(?:帮助|协助|提供)|lo siento|es tut mir leid|je suis désolée?|je ne peux pas|申し訳",
    re.IGNORECASE,
)
_OMITTED = (
    r"(?:rest|remaind?er|remaining|existing|other|unchanged|same|previous|omitted|as before|keep|snip|code continues)"
)
_ELISION = re.compile(
    rf"^\s*(?:#|//|/\*|<!--|--|;|%)?\s*(?:\.{{3,}}|…)\s*[\[(]?\s*(?:the |all |your )?{_OMITTED}\b.*$"
    r"|^\s*(?:#|//|--|;|%)\s*(?:\.{3,}|…)\s*$"
    r"|^\s*(?:#|//|/\*|<!--|--)\s*[\[(<]?\s*(?:the )?(?:rest of (?:the |your |this )?(?:code|file|function|class|"
    r"method|implementation|module|program)|remaining (?:code|functions|methods)|(?:\w+ )?existing code"
    r"|other (?:functions|methods)|same as (?:before|above)|unchanged)\b.{0,60}$"
    r"|^\s*\[(?:\.{3}|…|rest of .{1,40}|unchanged.{0,30})\]\s*$",
    re.IGNORECASE,
)
_GUTTER = re.compile(r"^[ \t]{0,8}(\d{1,7})(?:[ \t]?([|│:→])[ \t]?|(\t))(.*)$")


def clean(reply: str, limits: Limits) -> str:
    """The reply with Unix line ends and without its thoughts. Raises `ReplyError` for one that is too long."""
    if len(reply) > limits.reply or len(reply.encode("utf-8", "surrogatepass")) > limits.reply:
        raise ReplyError(f"the reply is longer than {limits.reply} bytes; send only what changes", Reason.UNPARSABLE)
    text = reply.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")
    text = without_thoughts(encodable(text))
    for stop in _STOPS:
        text = text.rstrip().removesuffix(stop) if text.rstrip().endswith(stop) else text
    return text


def encodable(text: str) -> str:
    """Lone surrogates would smuggle bytes that are not UTF-8 into a file: replaced."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.translate(_SURROGATES)
    return text


def without_thoughts(text: str) -> str:
    """Without what a reasoning model thought before its answer. Such tags inside the answer's code stay."""
    if _FINAL_CHANNEL in text:
        return text.rpartition(_FINAL_CHANNEL)[2]
    kept, at = [], 0
    while opening := _THOUGHT.search(text, at):
        before = text[at : opening.start()]
        if "```" in before or "<<<<<" in before:
            break
        kept.append(before)
        closing = _THOUGHT_ENDS.search(text, opening.end())
        # A thought that never ended leaves nothing after it.
        at = closing.end() if closing else len(text)
    rest = "".join([*kept, text[at:]])
    if at == 0 and (lonely := _LONELY_END.search(rest)):
        return rest[lonely.end() :]  # the chat template began the thought, so the reply only ends it
    return rest


def nothing(reply: str, wanted: str) -> ReplyError:
    """The error for a reply without an edit in it."""
    marked = "```" in reply or "<<<<<" in reply
    if len(reply) < 4000 and not marked and _SORRY.search(reply[:400]):
        return ReplyError("the reply declines to change anything", Reason.REFUSED)
    what = "no change was found in the reply" if reply.strip() else "the reply is empty"
    return ReplyError(f"{what}. It must have this form:\n{wanted}", Reason.UNPARSABLE)


def fenced(text: str) -> list[Block]:
    """The fenced blocks at the top level, in order. A fence that never ends runs to the end of the text."""
    return [part for part in parted(text) if isinstance(part, Block)]


def parted(text: str) -> Iterator[Block | str]:
    """Blocks, and the lines between them.

    A fence with an info string inside a block opens another one there, so that Markdown files and docstrings that hold
    fenced examples stay whole.
    """
    before, at, lines = "", 0, text.split("\n")
    while at < len(lines):
        line = lines[at]
        at += 1
        opening = _FENCE.match(line) if len(line) <= SHORT else None
        if not opening:
            before = line if line.strip() else before
            yield line
            continue
        end = _closing(lines, at, opening[1], opening[2])
        body = _undented(lines[at:end], opening[1])
        yield Block(opening[3].strip(), before, "\n".join(body) + "\n" if body else "", end < len(lines))
        before, at = "", end + 1


def _closing(lines: Sequence[str], at: int, indent: str, mark: str) -> int:
    """The line that ends the block whose first line is `at`; past the end if none does."""
    depth = 0
    for n in range(at, len(lines)):
        line = lines[n]
        found = _FENCE.match(line) if len(line) <= SHORT else None
        # Deeper fences belong to docstrings and lists inside the block.
        if not found or not found[2].startswith(mark) or len(found[1]) > len(indent) + 3:
            continue
        if found[3].strip():
            depth += 1
        elif depth:
            depth -= 1
        else:
            return n
    return len(lines)


def _undented(body: list[str], indent: str) -> list[str]:
    """A block in a list is indented as a whole."""
    if indent and all(line.startswith(indent) or not line.strip() for line in body):
        return [line[len(indent) :] for line in body]
    return body


def refuse_elision(new: list[str], old: Sequence[str]) -> list[str]:
    """`new`, unless a line of it says that something was left out (and the old text has no such line)."""
    known = {line.strip() for line in old}
    for line in new:
        if len(line) < 200 and line.strip() not in known and _ELISION.match(line):
            raise ReplyError(
                f"write everything out: the line {line.strip()!r} leaves something out, which would be lost",
                Reason.UNPARSABLE,
            )
    return new


def ungutter(lines: list[str], old: Container[str] = (), least: int = 2, all_or_none: bool = True) -> list[str]:
    """Without the line numbers that a model copied from its prompt, if all lines have them, counting up by one.

    `old`: lines of the file; numbered text that is the file's own is left alone. Fewer than `least` numbered lines
    prove nothing. Without `all_or_none` each line that has a number loses it.
    """
    found = [(_GUTTER.match(line) if len(line) <= SHORT else None) for line in lines]
    full = [(match, line) for match, line in zip(found, lines, strict=True) if line.strip()]
    numbers = [int(match[1]) for match, _ in full if match]
    if all_or_none and (
        len(numbers) < max(1, least)
        or len(numbers) != len(full)
        or any(b - a != 1 for a, b in pairwise(numbers))
        or any(line in old for _, line in full)
    ):
        return lines
    return [match[4] if match else line for match, line in zip(found, lines, strict=True)]
