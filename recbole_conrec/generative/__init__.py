"""What methods that answer with semantic IDs or text share: stages, tasks, prompts, rewards."""
