"""What the web server runs: `granian --interface wsgi vastsky_site.wsgi:application`."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "vastsky_site.settings")
application = get_wsgi_application()
