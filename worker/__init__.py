"""What can wait: the outbox handed to Celery, its tasks, and the hours of scheduled work."""
