"""The one exception that is written for a person."""


class UserError(Exception):
    """Something that the user can fix; its text says what is wrong, where, and what to do next."""
