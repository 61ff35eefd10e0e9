"""The console's login, which gets slow for those who guess."""

import logging
from typing import Any

from django.core.exceptions import ValidationError
from unfold.forms import AuthenticationForm

from vastsky_site.access.authentication import neighbourhood, peer_of
from vastsky_site.access.lockout import Attempts
from vastsky_site.access.shared_counts import SharedCounts

logger = logging.getLogger(__name__)

QUARTER_OF_AN_HOUR = 900.0
guesses = Attempts(5, QUARTER_OF_AN_HOUR, shared=SharedCounts("guesses"), look=True)
"""By name and address: nobody elsewhere can lock a person out."""
sprays = Attempts(50, QUARTER_OF_AN_HOUR, shared=SharedCounts("sprays"), look=True)
"""By address alone: one password tried on many names."""


class LoginForm(AuthenticationForm):
    """Refuses, before any password is looked at, whoever was wrong too often."""

    def clean(self) -> dict[str, Any]:
        """Check name and password; a failure counts."""
        address = neighbourhood(peer_of(self.request)) if self.request else ""
        name = str(self.cleaned_data.get("username", "")).casefold()
        wait = max(guesses.wait((name, address)), sprays.wait(address))
        if wait:
            minutes = int(wait // 60) + 1
            raise ValidationError(f"Too many failed attempts. Try again in {minutes} min.")
        try:
            cleaned: dict[str, Any] = super().clean()
        except ValidationError:
            guesses.fail((name, address))
            sprays.fail(address)
            logger.warning("failed login of %.64r from %s", name, address or "nowhere")
            raise
        guesses.forget((name, address))
        return cleaned
