"""Translators between dialects: pure, so tried with generated conversations."""
