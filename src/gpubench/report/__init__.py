"""Verdicts as text: a terminal table, Markdown, JSON. Nothing here prints or judges."""
