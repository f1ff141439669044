"""Only YAML lives here; this file makes the folder a package that an editable install can find."""
