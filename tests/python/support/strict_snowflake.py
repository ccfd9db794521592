"""A Snowflake account in memory that refuses what Snowflake's documentation refuses.

It proves order, privileges and names only: that statements come in an order, under a role and with names
that the documentation allows. It holds no row: of a query it knows only what it reads. It was never compared
with an account. Every refusal quotes the sentence of the documentation that it follows, as read in November
2026, and names its page below docs.snowflake.com/en/. A statement of a form it does not know is refused too.
"""

from collections.abc import Iterable

from support.strict_account import Refused
from support.strict_privileges import Privileges
from support.strict_queries import Queries


class StrictSnowflake(Queries, Privileges):
    """A DB-API connection of one user to an Account; statements are refused with `Refused`."""


def run_all(session: StrictSnowflake, statements: Iterable[str]) -> None:
    """Run statements in order."""
    for statement in statements:
        session.run(statement)


def refused_to(role: str, session: StrictSnowflake, statements: Iterable[str]) -> list[str]:
    """The statements that Snowflake refuses the role; the session is then ACCOUNTADMIN's."""
    refused = []
    session.run(f'use role "{role}"')
    for statement in statements:
        try:
            session.run(statement)
        except Refused:
            refused.append(statement)
    session.run("use role accountadmin")
    return refused
