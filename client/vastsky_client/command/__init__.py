"""The command `vastsky`: nouns and verbs over the whole API. It needs rich, for its tables."""
