"""One run: its configuration, training, evaluation, and the record that it leaves."""
