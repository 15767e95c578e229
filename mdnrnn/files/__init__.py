"""Access to files: atomic writing, locks, regular files of unknown origin, and bundled files."""
