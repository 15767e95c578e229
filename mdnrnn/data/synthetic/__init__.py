"""Generated corpora: doodles, pen text and rollouts."""
