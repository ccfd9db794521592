"""The simulated world as tables of DuckDB: templates, copies, versions, people and scenarios."""

from dataclasses import asdict

import duckdb
import pyarrow as pa

from scripts.simulate import world
from scripts.simulate.plan import SLOTS, Plan
from scripts.simulate.scenarios import scenarios as all_scenarios
from scripts.simulate.scenarios import shares


def load(con: duckdb.DuckDBPyConnection, name: str, rows: list[dict[str, object]]) -> None:
    """Make a table of `rows` (all with the same keys)."""
    con.register("loading", pa.Table.from_pylist(rows))
    con.execute(f"create table {name} as select * from loading")
    con.unregister("loading")


def load_world(con: duckdb.DuckDBPyConnection, plan: Plan) -> None:
    """Tables of templates, copies, versions, maps and scenarios."""
    numbers = {template.name: number for number, template in enumerate(world.TEMPLATES)}
    copies = world.copies()
    load(con, "template", [asdict(t) | {"template_no": n} for n, t in enumerate(world.TEMPLATES)])
    load(
        con,
        "copy",
        [
            {
                "copy_no": n,
                "template_no": numbers[c.template],
                "arm": c.arm,
                "copy_id": c.copy_id,
                "effect": c.effect,
            }
            for n, c in enumerate(copies)
        ],
    )
    edits = {
        (copy, version): (number, instant)
        for number, (copy, version, instant) in enumerate(world.edits(plan.days, plan.start))
    }
    versions: list[dict[str, object]] = []
    texts: list[dict[str, object]] = []
    for number, copy in enumerate(copies):
        for k, (_, text) in enumerate(copy.versions):
            versions.append(
                {
                    "version_no": len(versions),
                    "copy_no": number,
                    "k": k,
                    "template_id": text.template_id,
                    "content_hash": text.content_hash,
                    "canonical": text.canonical,
                    "from_at": edits[number, k][1] if k else -(2**60),
                    "to_at": edits[number, k + 1][1] if (number, k + 1) in edits else 2**60,
                }
            )
            texts += [
                {"version_no": len(versions) - 1, "rendering": n, "text": t}
                for n, t in enumerate(text.renderings)
            ]
    load(con, "version", versions)
    load(con, "version_text", texts)
    per_template: dict[int, int] = {}
    edit_rows: list[dict[str, object]] = []
    for (number, k), (_, instant) in edits.items():
        template_no = numbers[copies[number].template]
        place = per_template.setdefault(template_no, 0)
        per_template[template_no] += 1
        edit_rows.append(
            {"template_no": template_no, "place": place, "copy_no": number, "k": k, "instant": instant}
        )
    load(con, "edit", edit_rows)
    load(
        con,
        "person",
        [
            {"person_no": n, "canonical": world.canonical(p), "rendering": k, "text": text}
            for n, p in enumerate(world.PEOPLE)
            for k, text in enumerate(world.renderings("attrs", p))
        ],
    )
    load(
        con,
        "bandit",
        [
            {"template_no": n, "day": day, "shares": world.bandit(day / max(plan.days - 1, 1), t)}
            for n, t in enumerate(world.TEMPLATES)
            for day in range(plan.days)
        ],
    )
    load_scenarios(con, numbers)


def load_scenarios(con: duckdb.DuckDBPyConnection, numbers: dict[str, int]) -> None:
    """Tables of the scenarios, and `scenario_slot`, which spreads their shares over 65,536 slots."""
    scenarios = all_scenarios()
    load(
        con,
        "scenario",
        [
            {
                "scenario_no": n,
                "name": s.name,
                "snap": s.snap,
                "journey_form": s.journey_id,
                "calls": len(s.calls),
                "template_no": numbers[s.deliveries[0].template] if s.deliveries else None,
            }
            for n, s in enumerate(scenarios)
        ],
    )
    ends = [round(share * SLOTS) for share in shares(scenarios)]
    begins = [0, *ends[:-1]]
    load(
        con,
        "scenario_slot",
        [
            {"slot": slot, "scenario_no": n}
            for n, (a, b) in enumerate(zip(begins, ends, strict=True))
            for slot in range(a, b)
        ],
    )
    load(
        con,
        "scenario_delivery",
        [
            {
                "scenario_no": n,
                "slot": k,
                "template_no": numbers[d.template],
                "action": d.action,
                "has_journey": d.journey,
                "campaign": world.TEMPLATE[d.template].campaign if d.journey or d.action else None,
            }
            for n, s in enumerate(scenarios)
            for k, d in enumerate(s.deliveries)
        ],
    )
    load(
        con,
        "scenario_call",
        [
            asdict(c)
            | {
                "scenario_no": n,
                "slot": k,
                "template_no": numbers[c.template or s.deliveries[c.delivery].template],
                "copy": str(c.copy),
                "arm": c.copy if isinstance(c.copy, int) else None,
            }
            for n, s in enumerate(scenarios)
            for k, c in enumerate(s.calls)
        ],
    )
    load(
        con,
        "scenario_message",
        [
            asdict(m) | {"scenario_no": n, "slot": k}
            for n, s in enumerate(scenarios)
            for k, m in enumerate(s.messages)
        ],
    )
