"""What starts, tests and tends this software on a machine; nothing here is imported by the site."""
