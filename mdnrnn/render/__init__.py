"""Pictures of drawings and touch performances as SVG, PNG, PDF and GIF, and figures of models and training runs."""
