"""What the site itself keeps: the tokens with which programs call the API."""

from typing import ClassVar

from django.db import models
from django.db.models import Q


class ApiToken(models.Model):
    """A program that may call the API. The token itself is nowhere: only its keyed hash is."""

    class Role(models.TextChoices):
        """What a token may be used for; access.authorization has the methods of each."""

        READER = "reader", "reader: lists and trees"
        MONITOR = "monitor", "monitor: reads, and reports failures"
        OPERATOR = "operator", "operator: reads, and uses volumes and jobs"
        AGENT = "agent", "agent: one node's own reports"
        ADMIN = "admin", "admin: everything"

    name = models.CharField(max_length=64, unique=True)
    role = models.CharField(max_length=8, choices=Role)
    # Plain numbers and no foreign keys: an id is never used again, so the token of a server that
    # was deleted speaks for nobody, and does not keep the server from being deleted.
    head = models.IntegerField(null=True, blank=True, help_text="the head server it speaks for")
    storage = models.IntegerField(
        null=True, blank=True, help_text="the storage server it speaks for"
    )
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=150)
    last_used = models.DateTimeField(null=True, blank=True)
    revoked = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "API token"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(role__in=["reader", "monitor", "operator", "agent", "admin"]),
                name="token_role_known",
            ),
            models.CheckConstraint(
                condition=Q(role="agent") | Q(head=None, storage=None),
                name="token_only_agents_are_bound",
            ),
        ]

    def __str__(self) -> str:
        return f"token {self.name}"
