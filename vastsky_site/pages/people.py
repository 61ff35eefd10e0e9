"""People and their roles in the console, through Django's users and groups."""

import json
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet
from django.forms import CheckboxSelectMultiple
from django.http import HttpRequest, HttpResponse
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from inventory import audit
from inventory.audit import Action
from volumes.console.frame.permissions import Right, may
from volumes.console.lists.listing import PreparedList

ROLES = (
    "A viewer looks, an operator uses volumes and jobs, an admin also looks after servers, people "
    "and tokens. Without a role there is nothing to see."
)


class PersonList(UserAdmin, ModelAdmin):  # type: ignore[misc, type-arg]  # unfold is untyped
    """People who may sign in; their role is a group: viewer, operator or admin."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = (
        "username",
        "first_name",
        "last_name",
        "email",
        "role",
        "is_active",
        "last_login",
    )
    list_filter = ("groups", "is_active", "is_superuser")
    list_fullwidth = True
    actions = ()
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("Role", {"fields": ("is_active", "groups", "is_superuser")}),
        ("Known since", {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = (  # type: ignore[assignment]  # unfold says ()
        (None, {"fields": ("username", "usable_password", "password1", "password2")}),
        ("Role", {"fields": ("groups",)}),
    )
    readonly_fields = ("last_login", "date_joined")
    filter_horizontal = ()

    def get_changelist(self, request: HttpRequest, **_: Any) -> Any:
        return PreparedList

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("groups")

    def role(self, row: User) -> str:
        """Show what decides: a superuser is an admin without any group."""
        if row.is_superuser:
            return "admin (superuser)"
        return ", ".join(sorted(group.name for group in row.groups.all())) or "none"

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Show the three roles as boxes."""
        about = {"label": "Roles", "help_text": ROLES, "widget": CheckboxSelectMultiple()}
        return super().formfield_for_manytomany(db_field, request, **{**kwargs, **about})

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Let only a superuser make another."""
        fixed = () if _is_superuser(request) else ("is_superuser",)
        return (*self.readonly_fields, *fixed)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request.user, Right.ADMINISTER)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return may(request.user, Right.ADMINISTER)

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        return may(request.user, Right.ADMINISTER)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """A superuser is changed by superusers: an admin's role is no way to that."""
        above = obj is not None and obj.is_superuser and not _is_superuser(request)
        return may(request.user, Right.ADMINISTER) and not above

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return self.has_change_permission(request, obj)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """One at a time, so that each is asked for and written down."""
        return {}

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001  Django's signature
        """Let everyone in who has an account; the role says to what."""
        obj.is_staff = True
        super().save_model(request, obj, form, change)

    def user_change_password(self, request: HttpRequest, *args: Any, **more: Any) -> HttpResponse:
        """Change a password and write it down, both or neither."""
        with transaction.atomic():
            return super().user_change_password(request, *args, **more)

    def log_addition(self, request: HttpRequest, obj: User, message: Any) -> LogEntry:
        audit.record(Action.ADD_USER, f"user {obj.username}", _standing(obj))
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: User, message: Any) -> LogEntry:
        told = LogEntry(change_message=json.dumps(message)).get_change_message()
        audit.record(Action.CHANGE_USER, f"user {obj.username}", f"{told} {_standing(obj)}")
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[User]) -> Any:
        for row in queryset:
            audit.record(Action.DELETE_USER, f"user {row.username}")
        return super().log_deletions(request, queryset)


def _is_superuser(request: HttpRequest) -> bool:
    return isinstance(request.user, User) and request.user.is_superuser


def _standing(row: User) -> str:
    """Say what an account is good for now."""
    roles = ["superuser"] if row.is_superuser else []
    roles += sorted(row.groups.values_list("name", flat=True))
    return f"Roles: {', '.join(roles) or 'none'}; {'may' if row.is_active else 'may not'} sign in."
