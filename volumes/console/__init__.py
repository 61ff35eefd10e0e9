"""The operators' console: lists, pages, fragments and actions on top of the admin."""
