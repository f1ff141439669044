"""Options as YAML layers and as typed models."""
