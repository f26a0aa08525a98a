"""Statements said otherwise: rules that the catalog proves."""
