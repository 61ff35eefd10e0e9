"""What the web server runs (`vastsky_site.serve`)."""

import gc
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "vastsky_site.settings")
application = get_wsgi_application()

# What is loaded by now stays: a collection during a long list or a large change need not look
# through it again, which took a sixth of the time.
gc.freeze()
