"""The root of what the agents' side raises with an errno, and words that several of them use."""


class AgentError(Exception):
    """Something could not be done; `errno` says what kind of failure it is."""

    def __init__(self, errno: int, message: str) -> None:
        self.errno = errno
        super().__init__(message)


def newer_file(path: object, version: int, known: int) -> str:
    """Say that a newer version wrote a file, which must be neither misread nor overwritten."""
    return (
        f"{path} is of version {version}, and this agent knows {known}:"
        " start the newer agent that wrote it"
    )
