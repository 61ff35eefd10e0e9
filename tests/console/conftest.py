"""People in front of a console whose database was filled in bulk."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from benchmarks.seed import Size, fill

SMALL = Size(servers=5, disks=2, disk_gb=1500, heads=2, volumes=12)
PART = {"HX-Request": "true"}
"""What htmx sends when it asks for a part of a page."""
SignIn = Callable[[str], Client]


@pytest.fixture
def well(db: None) -> None:
    fill(SMALL)


@pytest.fixture
def ill(db: None) -> None:
    fill(SMALL, trouble=True)


@pytest.fixture
def sign_in(db: None) -> SignIn:
    """Sign in somebody with a role; "" is somebody of the staff without one."""

    def signed_in(role: str) -> Client:
        user = User.objects.create_user(f"{role or 'nobody'}-of-test", is_staff=True)
        if role:
            user.groups.add(Group.objects.get_or_create(name=role)[0])
        client = Client()
        client.force_login(user)
        return client

    return signed_in


@pytest.fixture
def console(db: None) -> Client:
    """A signed-in superuser."""
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client
