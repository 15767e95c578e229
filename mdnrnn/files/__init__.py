"""Access to files: atomic writing, locks, regular files from elsewhere, and bundled files."""
