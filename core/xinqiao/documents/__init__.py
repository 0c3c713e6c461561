"""Printed forms: templates as data, a layout with embedded fonts, and the signed short form of a notice."""
