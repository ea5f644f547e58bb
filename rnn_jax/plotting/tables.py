"""Tables: as lines of Markdown, and printed to the terminal."""

from collections.abc import Iterable, Sequence
from itertools import zip_longest

from rich import box
from rich.console import Console
from rich.table import Table

WIDTH = 160
"""Minimum width of a printed table in characters; a narrower terminal wraps its lines."""


def markdown(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: bool = False
) -> list[str]:
    """Lines of a Markdown table.

    Args:
      columns: the header.
      rows: the cells of each row.
      right: align every column but the first to the right.
    """
    rule = "|---" + ("|---:" if right else "|---") * (len(columns) - 1) + "|"
    head, *body = (f"| {' | '.join(map(str, cells))} |" for cells in (columns, *rows))
    return [head, rule, *body]


def show(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    title: str | None = None,
    styles: Iterable[str] = (),
) -> None:
    """Print a table, with every column but the first aligned to the right.

    Args:
      columns: the header.
      rows: the cells of each row.
      title: a line above the table.
      styles: the Rich style of each row, such as "bold".
    """
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    for cells, style in zip_longest(rows, styles, fillvalue=""):
        table.add_row(*cells, style=style)
    console = Console()
    console.width = max(console.width, WIDTH)
    console.print(table)
