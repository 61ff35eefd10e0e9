"""The root of what the agents' side raises with an errno."""


class AgentError(Exception):
    """Something could not be done; `errno` says what kind of failure it is."""

    def __init__(self, errno: int, message: str) -> None:
        self.errno = errno
        super().__init__(message)
