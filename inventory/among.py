"""The lookup `among`: rows by thousands of numbers, at the price of one parameter."""

import json
from collections.abc import Iterable
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import AutoField, IntegerField, Lookup
from django.db.models.sql.compiler import SQLCompiler

Sql = tuple[str, list[Any]]


class Among(Lookup[Iterable[int]]):
    """`id__among=numbers` finds what `id__in=list(numbers)` does.

    Django prepares each number of an `in` by itself, in every query anew: of a server that fails
    that took a third of the time.
    """

    lookup_name = "among"
    prepare_rhs = False

    def get_db_prep_lookup(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        """Make one parameter of all numbers."""
        numbers = list(value)
        return "%s", [numbers if connection.vendor == "postgresql" else json.dumps(numbers)]

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> Sql:
        """Have SQLite read a list as JSON."""
        return self._sql(compiler, connection, "{} IN (SELECT value FROM json_each({}))")

    def as_postgresql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> Sql:
        """Use an array, which PostgreSQL has."""
        return self._sql(compiler, connection, "{} = ANY({}::bigint[])")

    def _sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, form: str) -> Sql:
        left, left_params = self.process_lhs(compiler, connection)
        right, right_params = self.process_rhs(compiler, connection)
        return form.format(left, right), [*left_params, *right_params]


for _field in (IntegerField, AutoField):
    _field.register_lookup(Among)
