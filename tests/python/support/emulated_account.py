"""The account of an emulated Snowflake: roles, grants and shares by `strict_snowflake`, rows by fakesnow.

What concerns the account alone is answered by the strict account. Any other statement of a session whose role
`copymart bootstrap` has made is checked there first, and then run. Sessions of other roles are not checked.
"""

import re
import threading
from typing import Any

from snowflake.connector.errors import ProgrammingError

from scripts.snowflake.names import parts
from support.strict_account import SYSTEM_ROLES, Account, Refused, Rows
from support.strict_snowflake import StrictSnowflake

USER = "SOMEONE"
# as after `alter user … set default_secondary_roles = ()`, without which dbt acts as all roles of its user
ACCOUNT = Account(users={USER: {"ACCOUNTADMIN"}}, secondary="NONE")

_OF_THE_ACCOUNT = re.compile(
    r"use (secondary )?role|grant|revoke|alter user|alter stage|show grants|show shares|desc(ribe)? share|"
    r"select current_(organization_name|secondary_roles|user)|(create|drop) role|"
    r"(create( or replace)?|alter|drop) (warehouse|resource monitor|(storage )?integration|share|pipe)",
    re.IGNORECASE,
)
# What the strict account knows of better than fakesnow: whom it is shown to, and whether it is secure.
_SHOWN = re.compile(r"show (stages|views) in schema", re.IGNORECASE)
_MADE = re.compile(r"(create|drop) (database|schema|stage)", re.IGNORECASE)
# Questions of dbt, and what concerns the session alone. The statements of a block are checked one by one.
_UNCHECKED = re.compile(r"show|desc|begin|commit|rollback|use|alter session|execute", re.IGNORECASE)
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_LOCK = threading.Lock()


def admit(connection: Any, role: str | None) -> None:
    """Begin a session of a connection, as the role that its client names."""
    session = StrictSnowflake(ACCOUNT, USER)
    if role:
        session.role = parts(role)[0]
    connection.strict = session


def answer(cursor: Any, command: str) -> Rows | None:
    """The strict account's answer to a statement that concerns it alone; None for one that is to be run.

    Raises:
        ProgrammingError: the account refuses it.
    """
    session: StrictSnowflake | None = getattr(cursor._conn, "strict", None)
    text = _COMMENT.sub("", command).strip().rstrip(";").strip()
    if session is None or not text:
        return None
    with _LOCK:
        try:
            if _OF_THE_ACCOUNT.match(text):
                return session.run(text)
            if not _is_checked(session, text):
                return None
            session.place = (cursor._conn.database, cursor._conn.schema)
            if _SHOWN.match(text):
                return session.run(text)
            if not _UNCHECKED.match(text):
                session.run(text)
        except Refused as refused:
            raise ProgrammingError(
                msg=f"as {session.role}: {refused.msg}", errno=refused.errno, sqlstate="42501"
            ) from None
    return None


def _is_checked(session: StrictSnowflake, text: str) -> bool:
    if session.role in SYSTEM_ROLES:
        # an administrator who has set up an account here
        return bool(_MADE.match(text)) and any(line.lower().startswith("use role") for line in session.log)
    return session.role in ACCOUNT.roles
