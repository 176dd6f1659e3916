"""Verdicts and records as tables, pages, charts and files of other tools. Nothing here prints or
judges.
"""
