"""Shared code of the methods that answer with semantic IDs or text: stages, tasks, prompts, rewards."""
