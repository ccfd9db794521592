"""The one exception a person is meant to read."""


class UserError(Exception):
    """Something the caller must mend; its text says what is wrong, where, and what to do next."""
