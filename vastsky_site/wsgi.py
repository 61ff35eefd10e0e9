"""What the web server runs: `granian --interface wsgi vastsky_site.wsgi:application`."""

import gc
import os

from django.core.wsgi import get_wsgi_application

from vastsky_site.api.bodies import bounded

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "vastsky_site.settings")
application = bounded(get_wsgi_application())

# What is loaded by now stays: a collection during a long list or a large change need not look
# through it again, which took a sixth of the time.
gc.freeze()
