"""Text that came from a server, a scenario or a file, made safe to show.

Nothing in a report is trusted: a reply may hold terminal escapes, HTML, a table's pipes or a
workflow command. `visible` is the first step for every format; each format then escapes what
is special to it.
"""

from __future__ import annotations

import re
import unicodedata

_WORKFLOW_COMMAND = re.compile(r"::(?=[A-Za-z_-])|##\[")
"""What makes a CI service take a line of a log for a command."""

_MARKDOWN = str.maketrans({char: f"&#{ord(char)};" for char in "&<>|@#`*_[]~\\$!"})


def visible(text: str) -> str:
    r"""`text` with every control, format and unassigned character shown as an escape such as `\x1b`.

    Covers C0, C1, line separators, bidirectional overrides, zero-width characters and surrogates,
    so that what is left can neither steer a terminal nor be illegal in XML.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(char) for char in text)


def _shown(char: str) -> str:
    if unicodedata.category(char)[0] == "C" or char in "\u2028\u2029":
        return char.encode("unicode_escape").decode("ascii")
    return char


def from_bytes(data: bytes) -> str:
    """A server's bytes as one visible line."""
    return visible(data.decode("utf-8", "backslashreplace"))


def for_terminal(text: str) -> str:
    """`text` for a terminal or a CI log: visible, and nowhere a workflow command."""
    return _WORKFLOW_COMMAND.sub(lambda found: " ".join(found[0]), visible(text))


def for_markdown(text: str) -> str:
    """`text` for a Markdown paragraph or table cell: no markup, link, mention or HTML in it."""
    safe = visible(text).translate(_MARKDOWN)
    return safe.replace("://", ":&#47;&#47;").replace("::", "&#58;:").replace("www.", "www&#46;")


def for_csv(text: str) -> str:
    """`text` for a spreadsheet: visible, and never a formula."""
    safe = visible(text)
    return f"'{safe}" if safe.lstrip().startswith(("=", "+", "-", "@")) else safe
