"""Nouns: frozen values with no behaviour beyond arithmetic."""
