"""Written by hand: paragraphs are skipped in lists too, plain text is one greedy pattern, the loop does without calls."""
import re
import string

__all__ = ['speedup']

BREAK = re.compile(r' *\n\s*')
PARAGRAPH = r'(?:^[^\s\d' + re.escape(string.punctuation) + r'][^\n]*\n)+'
MARKS = r'\\><!\[_*`~\^\$='
# At least one character; then up to a mark, to two spaces and the end of a line, or to the end.
PLAIN = re.compile(r'[^' + MARKS + r' \n](?:[^' + MARKS + r' \n]+|\n(?!\Z)| (?! +\n))*+')
SLOW = r'[\s\S]+?(?=[' + MARKS + r']|'


def parse_paragraph(block, m, state):
    text = m.group()
    tokens = state.tokens
    if tokens and tokens[-1]['type'] == 'paragraph':
        tokens[-1]['text'] += text
    else:
        tokens.append({'type': 'paragraph', 'text': text})
    return m.end()


def parse_text(inline, m, state):
    text = m.group()
    if '\n' in text:
        text = BREAK.sub('\n', text)
    inline.process_text(text, state)
    return m.end()


def quick(inline, rules):
    """The loop of InlineParser.parse: where no rule but `text` can match, no other is tried."""
    methods, plain, join = inline._methods, PLAIN.match, BREAK.sub
    search = inline.compile_sc(None).search

    def parse(state):
        nonlocal search, rules
        if rules != inline.rules:
            rules = list(inline.rules)
            search = inline.compile_sc(None).search
        if rules[-1] != 'text' or 'url_link' in rules or 'ruby' in rules or 'abbr' in rules:
            return slow(state)
        src, pos = state.src, 0
        process, end = inline.process_text, len(src)
        while pos < end:
            m = plain(src, pos)
            if m:
                text = m.group()
                process(join('\n', text) if '\n' in text else text, state)
                pos = m.end()
                continue
            m = search(src, pos)
            if not m:
                break
            start = m.start()
            if start > pos:
                process(src[pos:start], state)
            new = methods[m.lastgroup](m, state)
            if new:
                pos = new
            else:
                pos = start + 1
                process(src[start:pos], state)
        if pos == 0:
            process(src, state)
        elif pos < end:
            process(src[pos:], state)
        return state.tokens

    slow = inline.parse
    return parse


def speedup(md):
    block = md.block
    block.register('paragraph', PARAGRAPH, parse_paragraph)
    for rules in (block.list_rules, block.block_quote_rules):
        if rules == list(block.DEFAULT_RULES):
            rules.append('paragraph')
    inline = md.inline
    links = 'https?:|' if 'url_link' in inline.rules else ''
    breaks = r' *\n|' if inline.hard_wrap else r' {2,}\n|'
    inline.register('text', SLOW + links + breaks + r'$)', parse_text)
    if not inline.hard_wrap:
        inline.parse = quick(inline, list(inline.rules))
