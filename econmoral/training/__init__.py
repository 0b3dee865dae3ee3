"""What fine-tuning is made of: settings, gates, trainer, the run's folder."""
