"""Who may do what in the console: one function, so that roles can change in one place."""

from enum import StrEnum

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser, User
from django.db.models import prefetch_related_objects
from django.http import HttpRequest


class Right(StrEnum):
    """What a person may do, each including the ones before it."""

    VIEW = "view"
    OPERATE = "operate"
    ADMINISTER = "administer"


RIGHTS_OF_GROUP = {
    "viewer": {Right.VIEW},
    "operator": {Right.VIEW, Right.OPERATE},
    "admin": set(Right),
}


def may(user: AbstractBaseUser | AnonymousUser, right: Right) -> bool:
    """Tell whether a signed-in person has a right; one query per request at most."""
    if not isinstance(user, User) or not (user.is_active and user.is_staff):
        return False
    if user.is_superuser:
        return True
    prefetch_related_objects([user], "groups")
    return any(right in RIGHTS_OF_GROUP.get(group.name, ()) for group in user.groups.all())


def views(request: HttpRequest) -> bool:
    """Tell whether the asker may look."""
    return may(request.user, Right.VIEW)


def operates(request: HttpRequest) -> bool:
    """Tell whether the asker may use volumes."""
    return may(request.user, Right.OPERATE)


def administers(request: HttpRequest) -> bool:
    """Tell whether the asker may look after servers, people and tokens."""
    return may(request.user, Right.ADMINISTER)
