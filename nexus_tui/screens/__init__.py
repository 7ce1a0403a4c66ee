"""Screens over the main one, and the main one: stories, questions, help."""
