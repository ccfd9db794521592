"""The page: one file that needs no network, whose texts are hostile input.

Jinja escapes what stands in the HTML; the script shows the rest as text nodes, from base 85, which cannot end
a tag. The Content-Security-Policy lets only these scripts and this style sheet run, by their hashes, and
forbids every connection.
"""

import base64
import hashlib
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import jinja2
import vl_convert
from markupsafe import Markup

from scripts.report import charts, overview
from scripts.report.marts import Marts
from scripts.report.packing import packed
from scripts.report.templates import chunk, per_template, shown_metrics, version_counts
from scripts.report.words import METRICS, WINDOWS

_HERE = Path(__file__).parent
_SCRIPTS = ("unpack.js", "words.js", "differences.js", "figures.js", "page.js")


def page(marts: Marts, made_at: datetime, min_match_rate: float, advance: Callable[[int], None]) -> str:
    """Return the page as HTML; `advance` is called after each template.

    Args:
        made_at: when the marts were read, UTC.
        min_match_rate: below this share of matched messages a template gets an alert.
    """
    found = overview.lines(marts, min_match_rate)
    shown, counts = shown_metrics(marts), version_counts(marts)
    numbers = {line.template_id: line.number for line in found}
    chunks = []
    for template_id, tables in per_template(marts):
        chunks.append((numbers[template_id], data(chunk(tables, shown[template_id], counts))))
        advance(1)
    library = inline(vl_convert.javascript_bundle("globalThis.vegaEmbed = vegaEmbed;"))
    script = inline("\n".join((_HERE / name).read_text(encoding="utf-8") for name in _SCRIPTS))
    style = inline((_HERE / "page.css").read_text(encoding="utf-8"))
    low, more_campaigns = overview.campaigns(marts, min_match_rate)
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            policy=policy([library, script], [style]),
            style=style,
            library=library,
            script=script,
            made_at=f"{made_at:%Y-%m-%d %H:%M}",
            newest_day=overview.newest_day(marts),
            lines=found,
            only_control=overview.only_control(marts),
            metrics=METRICS,
            windows=WINDOWS,
            feeds=overview.feeds(marts),
            campaigns=low,
            more_campaigns=more_campaigns,
            summary=data(overview.summary(marts, found)),
            plots=data(packed(_plots())),
            health=data(packed({"rows": _health(marts)})),
            chunks=chunks,
        )
    )


def _plots() -> dict[str, object]:
    return {
        "specifications": charts.specifications(),
        "palette": charts.PALETTE,
        "control": charts.CONTROL,
        "dashes": charts.DASHES,
    }


def _health(marts: Marts) -> dict[str, dict[str, object]]:
    """The rows of variant_health by template, as the page shows them."""
    return {
        row["template_id"]: json.loads(json.dumps(row, default=float)) for row in marts.health.to_pylist()
    }


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def inline(code: str) -> Markup:
    """Return our own script or style sheet to stand in the page unescaped.

    Raises:
        ValueError: it holds what would end its tag, or begin a comment there.
    """
    for ending in ("</script", "</style", "<!--"):
        if ending in code.lower():
            raise ValueError(f"a script or style sheet of the page holds {ending}: write it in two parts")
    return Markup(code)


def data(text: str) -> Markup:
    """Return packed data to stand in a script element, where nothing is escaped and only < could end it.

    Raises:
        ValueError: it holds a <.
    """
    if "<" in text:
        raise ValueError("packed data hold a <, which could end their element")
    return Markup(text)


def policy(scripts: list[Markup], styles: list[Markup]) -> str:
    """Return the Content-Security-Policy that lets these run and nothing else."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {' '.join(map(_hash, scripts))}",
            f"style-src {' '.join(map(_hash, styles))}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _hash(code: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"
