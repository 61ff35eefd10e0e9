"""Which lists about access the console has."""

from django.contrib import admin
from django.contrib.auth.models import Group, User

from inventory.models import AuditEntry, Member
from vastsky_site.models import ApiToken
from vastsky_site.pages.api_tokens import TokenList
from vastsky_site.pages.audit_log import AuditLog
from vastsky_site.pages.join_strings import NodeList
from vastsky_site.pages.people import PersonList

admin.site.unregister(User)
# The three groups are the roles, and code says what each may do: nothing to edit.
admin.site.unregister(Group)
admin.site.register(User, PersonList)
admin.site.register(AuditEntry, AuditLog)
admin.site.register(ApiToken, TokenList)
admin.site.register(Member, NodeList)
