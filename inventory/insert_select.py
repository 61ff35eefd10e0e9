"""Rows that are made of a query's by the database itself: INSERT ... SELECT."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connection
from django.db.models import CharField, Func, Model, QuerySet


class Hex(Func):
    """A number in eight hexadecimal digits, as ids are written."""

    output_field = CharField()

    def as_sqlite(self, compiler: Any, connection: Any, **more: Any) -> Any:
        """Write it as C does."""
        template = "printf('%%%%08x', %(expressions)s)"
        return self.as_sql(compiler, connection, template=template, **more)

    def as_postgresql(self, compiler: Any, connection: Any, **more: Any) -> Any:
        """Fill up what to_hex gives."""
        template = "lpad(to_hex(%(expressions)s), 8, '0')"
        return self.as_sql(compiler, connection, template=template, **more)


def insert_from(
    rows: QuerySet[Any, Any],
    into: type[Model],
    columns: Sequence[str],
    alike: Mapping[str, Any],
    *,
    first: int | None = None,
) -> int:
    """Add a row for each row of a query, and tell how many; what is there already stays.

    The query's values go to `columns`, in their order, and what is `alike` in all rows, as the
    database takes it, to others. `first`: the id of the first row; the next have the next.
    """
    query, params = rows.query.sql_with_params()
    numbered = {} if first is None else {"id": first - 1}
    names = ", ".join(map(connection.ops.quote_name, [*numbered, *alike, *columns]))
    number = ["%s + ROW_NUMBER() OVER ()"] * len(numbered)
    values = ", ".join([*number, *["%s"] * len(alike), "q.*"])
    table = into._meta.db_table  # noqa: SLF001 - Django documents it as an API
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({names}) SELECT {values} FROM ({query}) AS q"  # noqa: S608 - ours
            " WHERE true ON CONFLICT DO NOTHING",  # SQLite takes ON for a join without a WHERE
            [*numbered.values(), *alike.values(), *params],
        )
        return int(cursor.rowcount)
