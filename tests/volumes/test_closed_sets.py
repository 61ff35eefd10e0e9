"""A column that takes one of a few words takes no other, whoever writes to the database."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.db import IntegrityError, models, transaction
from django.utils import timezone

from volumes.models import Job

OURS = ("inventory", "volumes", "vastsky_site")


def fields_with_choices() -> Iterator[models.Field[Any, Any]]:
    for model in apps.get_models():
        if model._meta.app_label in OURS:
            yield from (field for field in model._meta.concrete_fields if field.choices)


def is_checked(field: models.Field[Any, Any]) -> bool:
    constraints = field.model._meta.constraints
    checks = (one for one in constraints if isinstance(one, models.CheckConstraint))
    named = re.compile(rf"'{field.name}(__in)?'")
    return any(named.search(str(check.condition)) for check in checks)


def test_every_column_of_a_closed_set_is_checked_by_the_database() -> None:
    fields = list(fields_with_choices())

    assert len(fields) > 20
    assert [str(field) for field in fields if not is_checked(field)] == []


@pytest.mark.django_db
def test_a_job_of_no_known_kind_cannot_be_written() -> None:
    with pytest.raises(IntegrityError, match="job_kind_known"), transaction.atomic():
        Job.objects.create(pk=7, kind="defrag", subject="v1", due=timezone.now())
