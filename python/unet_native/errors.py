"""Errors that a user can mend."""

__all__ = ["DeviceMemoryError", "UserError"]


class UserError(ValueError):
    """What the user gave cannot work; the text is one sentence naming the file and the remedy.

    The command line prints the text and exits with status 2, without a traceback.
    """


class DeviceMemoryError(MemoryError):
    """A device has not the memory that is wanted: `needed` bytes, of which `free` there are."""

    def __init__(self, needed: int, free: int, total: int):
        super().__init__(
            f"the device has {free / 1e9:.3g} of its {total / 1e9:.3g} GB of memory free, "
            f"{needed / 1e9:.3g} GB more are needed"
        )
        self.needed = needed
        self.free = free
