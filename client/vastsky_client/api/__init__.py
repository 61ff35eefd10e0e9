"""A typed client of /RPC2 for programs: `Manager` has a method for each method of the API.

    from vastsky_client.api import Manager

    manager = Manager.from_environment()
    for volume in manager.list_logical_volumes():
        print(volume["lvolname"], volume["capacity"])

It needs nothing but Python.
"""

from vastsky_client.api.access import Access, BadAccess, load
from vastsky_client.api.connection import AnswerLost, NoManager, Refused
from vastsky_client.api.manager import Manager
from vastsky_client.api.method_group import pages

__all__ = ["Access", "AnswerLost", "BadAccess", "Manager", "NoManager", "Refused", "load", "pages"]
