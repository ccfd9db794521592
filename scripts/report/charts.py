"""The plots as Vega-Lite specifications; the page's script gives them rows and draws them.

Each mark takes its colour from its row, so that a copy has one colour on all plots, and the page's style
sheet colours axes and texts for light, dark and print.
"""

from typing import Any

import altair

# Okabe and Ito's palette without its yellow and black, which one of the two backgrounds swallows; a copy
# beyond the sixth has the same colours with dashes. https://jfly.uni-koeln.de/color/
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
CONTROL = "#7F7F7F"
DASHES: tuple[list[int], ...] = ([], [6, 3], [2, 2])
_WIDTH = 720
_ROWS = altair.NamedData("rows")
_EDITS = altair.NamedData("edits")
_PER_CENT = "+.1~%"
# A tick at most per day, which are all called by their day.
_TICKS = altair.ExprRef("min(ceil(width / 40), max(1, span(domain('x')) / 86400000))")


def specifications() -> dict[str, dict[str, Any]]:
    """Return each plot's specification by the name of its figure."""
    plots = {
        "forest": _forest(),
        "trend": _trend(),
        "traffic": _traffic(),
        "funnel": _funnel(),
        "segments": _segments(),
    }
    return {name: _styled(plot).to_dict() for name, plot in plots.items()}


def _styled(plot: Any) -> Any:
    # the table behind each plot is for screen readers; marks that announce themselves would drown it
    return (
        plot.configure(aria=False, background="transparent", font="system-ui, sans-serif")
        .configure_view(stroke=None)
        .configure_axis(labelLimit=260, titleFontWeight="normal", labelFontSize=12, titleFontSize=12)
    )


def _coloured() -> altair.Color:
    return altair.Color("color:N").scale(None)


def _forest() -> Any:
    """Lift with interval per copy, and no lift as a line."""
    rows = altair.Chart(_ROWS).encode(
        y=altair.Y("label:N", sort=altair.EncodingSortField("order")).title(None),
        tooltip=[
            altair.Tooltip("label:N", title="copy"),
            altair.Tooltip("lift:Q", format=_PER_CENT),
            altair.Tooltip("low:Q", format=_PER_CENT),
            altair.Tooltip("high:Q", format=_PER_CENT),
            altair.Tooltip("verdict:N"),
        ],
    )
    return altair.layer(
        _no_lift(),
        rows.mark_rule(strokeWidth=2).encode(
            x=altair.X("drawn_low:Q").title("lift against control").axis(format=_PER_CENT, labelOverlap=True),
            x2="drawn_high:Q",
            color=_coloured(),
        ),
        rows.mark_point(filled=True, size=90, opacity=1).encode(x="drawn_lift:Q", color=_coloured()),
    ).properties(width=_WIDTH, height=altair.Step(26))


def _no_lift() -> altair.Chart:
    nothing = altair.Chart(altair.InlineData([{"zero": 0}]))
    return nothing.mark_rule(strokeDash=[4, 4], color=CONTROL).encode(x="zero:Q")


def _days(field: str) -> altair.X:
    """An axis of the marts' days, which are not those of the reader's time zone."""
    return (
        altair.X(field)
        .scale(type="utc")
        .title(None)
        .axis(format="%Y-%m-%d", labelAngle=0, labelOverlap=True, tickCount=_TICKS)
    )


def _trend() -> Any:
    """Comparable rate by day or week with its band, and a line where a text was changed."""
    rows = altair.Chart(_ROWS).encode(x=_days("start:T"), color=_coloured(), detail="label:N")
    tooltip = [
        altair.Tooltip("label:N", title="copy"),
        altair.Tooltip("day:N", title="from"),
        altair.Tooltip("rate:Q", format=".2%"),
        altair.Tooltip("low:Q", format=".2%"),
        altair.Tooltip("high:Q", format=".2%"),
    ]
    edits = altair.Chart(_EDITS).encode(x=_days("at:T"), color=_coloured())
    y = altair.Y("rate:Q").title("comparable rate").axis(format=".1~%").scale(zero=False)
    return altair.layer(
        rows.mark_area(opacity=0.13).encode(y=altair.Y("low:Q").scale(zero=False), y2="high:Q"),
        rows.mark_line(strokeWidth=2).encode(y=y, strokeDash=altair.StrokeDash("dash:N").scale(None)),
        rows.mark_point(filled=True, size=28, opacity=1).encode(y="rate:Q", tooltip=tooltip),
        edits.mark_rule(strokeWidth=1.5, strokeDash=[3, 3]).encode(
            tooltip=altair.Tooltip("text:N", title="changed")
        ),
        edits.mark_text(text="✎", dy=-6, fontSize=13, baseline="bottom").encode(
            y=altair.value(0), tooltip=altair.Tooltip("text:N", title="changed")
        ),
    ).properties(width=_WIDTH, height=260)


def _traffic() -> altair.Chart:
    """Share of the trials, by day."""
    return (
        altair.Chart(_ROWS)
        .mark_area(interpolate="step", stroke="#ffffff", strokeWidth=0.5)
        .encode(
            x=_days("start:T"),
            y=altair.Y("trials:Q").stack("normalize").title("share of traffic").axis(format=".0%"),
            color=_coloured(),
            detail="label:N",
            order="order:Q",
            tooltip=[
                altair.Tooltip("label:N", title="copy"),
                altair.Tooltip("day:N"),
                altair.Tooltip("trials:Q", format=","),
            ],
        )
        .properties(width=_WIDTH, height=180)
    )


def _funnel() -> altair.FacetChart:
    """Share of what was served that reached each stage; people beside all."""
    rows = altair.Chart().encode(
        y=altair.Y("label:N", sort=altair.EncodingSortField("order")).title(None),
        tooltip=[
            altair.Tooltip("label:N", title="copy"),
            altair.Tooltip("stage:N"),
            altair.Tooltip("count:Q", format=","),
            altair.Tooltip("people:Q", format=",", title="of them by people"),
        ],
    )
    x = altair.X("share:Q").title(None).axis(format=".0~%", tickCount=3)
    return (
        altair.layer(
            rows.mark_bar(opacity=0.35).encode(x=x, color=_coloured()),
            rows.mark_bar(size=7).encode(x="people_share:Q", color=_coloured()),
            data=_ROWS,
        )
        .properties(width=92, height=altair.Step(20))
        .facet(
            column=altair.Column("stage:N", sort=altair.EncodingSortField("stage_order")).title(None),
            spacing=8,
        )
        .resolve_scale(x="independent")
    )


def _segments() -> Any:
    """Lift with interval per value of an attribute; filled where the q value is at most 0.05."""
    rows = altair.Chart(_ROWS).encode(
        y=altair.Y("label:N", sort=altair.EncodingSortField("order")).title(None),
        color=_coloured(),
        tooltip=[
            altair.Tooltip("label:N", title="segment"),
            altair.Tooltip("lift:Q", format=_PER_CENT),
            altair.Tooltip("low:Q", format=_PER_CENT),
            altair.Tooltip("high:Q", format=_PER_CENT),
            altair.Tooltip("q:Q", format=".4f", title="q value"),
        ],
    )
    return altair.layer(
        _no_lift(),
        rows.mark_rule(strokeWidth=2).encode(
            x=altair.X("drawn_low:Q")
            .title("lift against control in the segment")
            .axis(format=_PER_CENT, labelOverlap=True),
            x2="drawn_high:Q",
        ),
        rows.mark_point(filled=True, size=70).encode(
            x="drawn_lift:Q",
            opacity=altair.Opacity("is_clear:Q").scale(domain=[0, 1], range=[0.35, 1]).legend(None),
        ),
    ).properties(width=_WIDTH, height=altair.Step(22))
