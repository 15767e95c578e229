"""Corpora that this project makes itself, from nothing but a random generator."""
