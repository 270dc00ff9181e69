"""Errors that a user can mend."""

__all__ = ["UserError"]


class UserError(ValueError):
    """What the user gave cannot work; the text is one sentence naming the file and the remedy.

    The command line prints the text and exits with status 2, without a traceback.
    """
