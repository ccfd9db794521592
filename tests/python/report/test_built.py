"""The report of a warehouse that dbt built from a simulation: the marts have what it reads."""

from pathlib import Path

from scripts.report.words import METRICS, signed
from support.project import Built, run
from support.report import Open

SHOWN = (".metric", ".sentence", ".lift", ".trials")


def test_the_report_of_a_built_warehouse(built: Built, tmp_path: Path, open_page: Open) -> None:
    to = tmp_path / "report.html"
    run(built.environment, "copymart", "report", "--to", to)
    with built.connect() as connection:
        marts = connection.execute(
            """
            select
                template_id, is_key_metric, metric, verdict_sentence, verdict_lift,
                trials + coalesce(control_trials, 0)
            from marts.template_performance
            where time_window = 'all'
            """
        ).fetchall()
        opened = connection.execute(
            "select distinct template_id from marts.template_performance where lift is not null order by 1"
        ).fetchall()
    keyed = {template_id for template_id, is_key, *_ in marts if is_key}
    shown = [row for row in marts if row[1] or (row[0] not in keyed and row[2] == "human_clicked")]
    tab = open_page(of=to)
    lines = tab.locator("#overview tr[data-template]")
    assert lines.count() == len(shown) > 5
    found = {
        tuple(" ".join(line.locator(part).inner_text().split()) for part in SHOWN) for line in lines.all()
    }
    assert found == {
        (METRICS[metric], sentence, signed(lift).replace("\u00a0", " "), f"{trials:,}")
        for _, _, metric, sentence, lift, trials in shown
    }
    # each kind of template draws without a word on the console
    for (template_id,) in opened[:3]:
        tab = open_page(f"#template={template_id}", of=to)
        assert tab.locator("#template figure").count() == 5
        assert tab.locator("#figure-trend svg, #figure-traffic svg, #figure-funnel svg").count() == 3
