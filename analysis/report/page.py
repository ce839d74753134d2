"""Pieces of an HTML page that stands alone: text in, HTML out, everything escaped.

Whatever comes from a user (names, YAML) reaches the page through :func:`inline` or
``html.escape``, so it cannot become markup. The page asks for nothing: its style is in it and its
figures are data URIs.
"""

import base64
import html
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.figure import Figure

PIXELS_PER_INCH = 130
"""Of figures that show images; other figures are drawings without pixels."""


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading of its own.

    Attributes:
        title: Its heading, also in the table of contents.
        anchor: What links name it by: lower-case letters.
        parts: HTML, from the other functions here.
    """

    title: str
    anchor: str
    parts: tuple[str, ...]


def inline(text: str) -> str:
    """A sentence as HTML; between backticks it is code, between double asterisks important."""
    escaped = html.escape(text)
    escaped = re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped)
    return re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", escaped)


def paragraph(text: str) -> str:
    """A paragraph; see :func:`inline`."""
    return f"<p>{inline(text)}</p>"


def subheading(text: str) -> str:
    """A heading within a section."""
    return f"<h3>{inline(text)}</h3>"


def preformatted(text: str) -> str:
    """Text as it is, such as a file."""
    return f"<pre>{html.escape(text)}</pre>"


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """What is said of each of several things: a bold lead and a sentence."""
    rows = (f"<dt>{inline(lead)}</dt><dd>{inline(text)}</dd>" for lead, text in pairs)
    return f"<dl>{''.join(rows)}</dl>"


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], caption: str, words: Sequence[str] = ()
) -> str:
    """A table that scrolls in a box of its own where the page is narrow.

    Args:
        head: Names of the columns.
        rows: Texts of the cells.
        caption: What the table shows.
        words: Columns beside the first that hold words; the others hold numbers.
    """
    is_number = [place > 0 and name not in words for place, name in enumerate(head)]

    def line(cells: Sequence[str], tag: str) -> str:
        texts = [
            f"<{tag}{' class=n' if number else ''}>{inline(cell)}</{tag}>"
            for number, cell in zip(is_number, cells, strict=True)
        ]
        return f"<tr>{''.join(texts)}</tr>"

    body = "\n".join(line(row, "td") for row in rows)
    label = html.escape(caption.replace("`", ""), quote=True)
    return (
        # Above the box and not in the table, or a narrow page would cut the sentence off.
        f'<p class="caption">{inline(caption)}</p>'
        f'<div class="box" role="region" tabindex="0" aria-label="{label}"><table>'
        f"<thead>{line(head, 'th')}</thead><tbody>{body}</tbody></table></div>"
    )


def figure(drawn: Figure, alt: str, caption: str, *, has_images: bool = False) -> str:
    """A figure with its caption.

    Args:
        drawn: The figure.
        alt: What it shows, for those who do not see it.
        caption: How to read it.
        has_images: Whether it shows images or very many points, which are smaller as pixels.
    """
    out = io.BytesIO()
    # The same study gives the same bytes: no date, no random ids.
    with mpl.rc_context({"svg.hashsalt": "report", "svg.fonttype": "path"}):
        if has_images:
            drawn.savefig(out, format="png", dpi=PIXELS_PER_INCH)
        else:
            drawn.savefig(out, format="svg", metadata={"Date": None})
    kind = "image/png" if has_images else "image/svg+xml"
    data = base64.b64encode(out.getvalue()).decode()
    width = round(96 * drawn.get_figwidth())
    return (
        f'<figure><div class="box" role="region" tabindex="0" aria-label="figure">'
        f'<img alt="{html.escape(alt, quote=True)}" width="{width}" src="data:{kind};base64,'
        f'{data}"></div><figcaption>{inline(caption)}</figcaption></figure>'
    )


def page(title: str, lead: Sequence[str], sections: Sequence[Section]) -> str:
    """The whole page.

    Args:
        title: Its title.
        lead: HTML that stands first, before the table of contents.
        sections: The rest.
    """
    links = "".join(f'<li><a href="#{s.anchor}">{inline(s.title)}</a></li>' for s in sections)
    parts = "\n".join(
        f'<section id="{s.anchor}"><h2>{inline(s.title)}</h2>\n'
        + "\n".join(s.parts)
        + "</section>"
        for s in sections
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # Even if something slipped through, nothing runs and nothing is fetched.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "img-src data:; style-src 'unsafe-inline'\">\n"
        f'<link rel="icon" href="data:,"><title>{html.escape(title)}</title>\n'
        f"<style>{STYLE}</style></head>\n<body><main><h1>{html.escape(title)}</h1>\n"
        + "\n".join(lead)
        + f'\n<nav aria-label="Contents"><h2>Contents</h2><ol>{links}</ol></nav>\n{parts}\n'
        "</main></body></html>\n"
    )


STYLE = """
:root { --text: #1c1c1c; --quiet: #4a4a4a; --line: #c9c9c9; --ground: #ffffff; --shade: #f2f5f8;
  --link: #0b4f8a; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--text);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif;
  overflow-wrap: anywhere; }
main { max-width: 60rem; margin: 0 auto; padding: 1rem 1rem 3rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0.5rem 0; }
h2 { font-size: 1.3rem; margin: 2.4rem 0 0.6rem; border-bottom: 2px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.6rem 0 0.4rem; }
a { color: var(--link); }
p, dd { max-width: 46rem; }
dl { margin: 0.8rem 0; padding: 0.2rem 1rem 0.8rem; background: var(--shade);
  border-left: 4px solid var(--link); }
dt { font-weight: 700; margin-top: 0.7rem; }
dd { margin: 0; }
nav h2 { font-size: 1.05rem; border: 0; margin: 1.2rem 0 0.2rem; }
nav ol { margin: 0; padding-left: 1.6rem; columns: 2 16rem; }
nav a { display: inline-block; padding: 0.15rem 0; }
code, pre { font-family: ui-monospace, "SFMono-Regular", Menlo, Consolas, monospace;
  font-size: 0.9em; }
pre { background: var(--shade); padding: 0.8rem; overflow-x: auto; line-height: 1.4; }
.box { overflow-x: auto; max-width: 100%; }
.box:focus-visible { outline: 2px solid var(--link); }
table { border-collapse: collapse; font-size: 0.9rem; margin: 0.4rem 0; }
.caption { color: var(--quiet); font-size: 0.9rem; margin: 1rem 0 0.2rem; }
th, td { padding: 0.25rem 0.6rem; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; overflow-wrap: normal; }
th { background: var(--shade); vertical-align: bottom; }
td:first-child { min-width: 9.5rem; overflow-wrap: anywhere; }
.n { text-align: right; font-variant-numeric: tabular-nums; }
td.n { white-space: nowrap; }
figure { margin: 1rem 0; }
figure img { display: block; max-width: 100%; height: auto; background: #ffffff; }
figcaption { color: var(--quiet); font-size: 0.9rem; max-width: 46rem; }
@media (max-width: 40rem) {
  main { padding: 0.6rem 0.8rem 2rem; }
  figure img { max-width: none; width: 36rem; }
}
@media screen and (prefers-color-scheme: dark) {
  :root { --text: #ececec; --quiet: #bdbdbd; --line: #4d4d4d; --ground: #161719; --shade: #24272b;
    --link: #8cc4ff; }
}
@media print {
  @page { margin: 15mm; }
  body { font-size: 10pt; }
  main { max-width: none; padding: 0; }
  .box { overflow: visible; }
  pre { white-space: pre-wrap; }
  table { font-size: 7.5pt; }
  th, td { padding: 0.15rem 0.3rem; }
  th, td.n { white-space: normal; overflow-wrap: anywhere; }
  tr, figure, .caption { break-inside: avoid; }
  h2, h3, .caption { break-after: avoid; }
  thead { display: table-header-group; }
  figure img { max-width: 100%; max-height: 210mm; width: auto; }
}
"""
