"""The built-in CPU engine: a layered 2.5D mesh that needs no trained renderer, no weights and no GPU."""
